"""SASRec's gradients by all kernels together: on views of what they are on views in a round."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from fedrec.kernels.device import operation
from fedrec.kernels.tape import ByCode
from fedrec.models._resident import ResidentBatch
from fedrec.models.base import Shared
from tests.kernels.triton.test_kernels import DEVICE
from tests.models.test_sas_rec import STREAMS, USERS, parameters, small
from tests.models.test_sas_rec_on_device import resident_batch

ON_DEVICE = replace(STREAMS, host=ByCode(torch.device(DEVICE), STREAMS.round))


def run_kernel(what: operation.Operation, *given: Any) -> Any:
    return what.kernel(*given)


@pytest.mark.parametrize(
    ("heads", "dropout", "everybodys"), [(1, 0.3, True), (3, 0.3, False), (1, 0.0, True)]
)
def test_gradients(
    heads: int, dropout: float, everybodys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, n = small(heads=heads, dropout=dropout), len(USERS)
    shared, batch, factors = parameters(model), resident_batch(), 1 + torch.arange(n) / 10
    if not everybodys:
        shared = Shared(shared.items * factors[:, None, None], shared.dense * factors[:, None])
    expected = model.gradients(shared, torch.zeros(n, 0), batch, STREAMS)
    monkeypatch.setattr(operation, "run", run_kernel)
    moved = [x.to(DEVICE) if isinstance(x, torch.Tensor) else x for x in batch.resident]
    found = model.gradients(
        Shared(shared.items.to(DEVICE), shared.dense.to(DEVICE)),
        torch.zeros(n, 0, device=DEVICE),
        ResidentBatch(type(batch.resident)(*moved)),
        ON_DEVICE,
    )
    for one, other in (
        (found.updates.stack, expected.updates.stack),
        (found.updates.dense, expected.updates.dense),
        (found.loss, expected.loss),
        (found.updates.weight, expected.updates.weight),
    ):
        assert_close(one.cpu(), other, rtol=1e-5, atol=1e-5)
