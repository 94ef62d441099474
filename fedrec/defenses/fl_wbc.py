"""FL-WBC: white blood cells for federated learning (Sun et al. 2021)."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ClientView
from fedrec.models.base import LocalGradients, Shared
from fedrec.noise import LaplaceNoise
from fedrec.settings import settings


@settings
class FLWBC:
    """Honest clients add Laplace noise where their gradient hardly changes along its own step.

    An attack's effect stays in the parameter space in which the Hessian of the benign loss is
    nearly null. Its diagonal is estimated by Δg = g(θ) − g(θ − ηg), and noise Υ ~ Laplace(0, s)
    is added on the coordinates with |Δg| ≤ |Υ|. The published algorithm compares gradients of
    successive local steps; with one gradient per client the step is taken for the comparison
    only. On rows that a client does not touch Δg is η·ridge²·v, far below any noise: it counts
    as 0.
    """

    scale: float = Field(
        default=1e-4,
        gt=0,
        description="s of Laplace(0, s). In no source for recommenders: calibrated on one cell "
        "(docs/fidelity.md).",
    )

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """The same gradients, with noise in their uploads."""
        item, change, dense_change = changes(view)
        rows = torch.bincount(view.batch.row_owner, minlength=len(view.positions)).tolist()
        parts = zip(
            view.batch.clients.tolist(),
            item.split(rows),
            change.abs().split(rows),
            dense_change.abs(),
            strict=True,
        )
        noise = tuple(self._noise(*part, view) for part in parts)
        return replace(honest, updates=replace(honest.updates, noise=noise))

    def _noise(
        self, client: int, item: Tensor, change: Tensor, dense_change: Tensor, view: ClientView
    ) -> LaplaceNoise:
        return LaplaceNoise(
            scale=self.scale,
            seed=view.streams.of("fl-wbc-items", client).seed,
            item=item.cpu().numpy(),
            change=change.cpu().numpy(),
            dense_seed=view.streams.of("fl-wbc-dense", client).seed,
            dense_change=dense_change.cpu().numpy(),
        )


def changes(
    view: ClientView,
) -> tuple[Int[Tensor, " rows"], Float[Tensor, "rows d"], Float[Tensor, "n params"]]:
    """Δg of each client along its own step: on the rows of its batch, and of the dense part."""
    before, eta = view.plain.updates, view.devices.model.learning_rate
    embedding, ridge = before.table[before.item], before.ridge[before.owner][:, None]
    step = (before.value + ridge * embedding).mul_(eta)
    local = view.devices.local[view.positions] - eta * view.plain.local
    # Every client steps on a table of its own, which holds the rows that it touches.
    after = view.devices.model.gradients(
        Shared(embedding - step, view.shared.dense - eta * before.dense),
        local,
        view.batch.over_rows(),
        view.streams,
    ).updates
    change = (before.value - after.value).add_(ridge * step)
    return before.item, change, before.dense - after.dense
