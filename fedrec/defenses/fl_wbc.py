"""FL-WBC: white blood cells for federated learning (Sun et al. 2021)."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ClientView
from fedrec.kernels.device.draws import add_laplace_noise
from fedrec.kernels.laplace_noise import LaplaceNoise
from fedrec.models.base import LocalGradients, Shared
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class FLWBC:
    """Honest clients add Laplace noise where their gradient hardly changes between two steps.

    An attack's effect persists in the parameter space where the Hessian of the benign loss is
    nearly zero. The method estimates the Hessian's diagonal by the change Δg of the gradient
    between successive minibatches, and adds noise Υ ~ Laplace(0, s) where |Δg| ≤ |Υ|.

    Here a client computes one gradient per round, so there is no second minibatch. By default Δg is
    g(θ) − g(θ − ηg) over all pairs. It is at most 1e-6 for s = 1e-4, so nearly every coordinate
    gets noise, and in effect nothing is selected. With `successive: halves` the two halves of a
    client's pairs are the minibatches. The step serves only this comparison. On rows that a client
    does not touch, Δg is η·ridge²·v, which is far below any noise and counts as 0.
    """

    scale: float = Field(
        default=1e-4, gt=0, description="s of Laplace(0, s) (default in the code of Sun et al.)."
    )
    successive: Literal["step", "halves"] = Field(
        default="step",
        description="Gradients to compare: of all pairs before and after a step, or of the earlier "
        "half of the pairs and, after its step, of the later half.",
    )

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        """Add noise to the uploads; the local gradients are unchanged."""
        if honest.updates.whole:
            return replace(honest, updates=self._noisy(honest.updates, view))
        item, change, dense_change = changes(view, self.successive == "halves")
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

    def _noisy(self, honest: Updates, view: ClientView) -> Updates:
        """Add the noise on a GPU, where an upload has rows for all items."""
        change, dense_change = changes_of_stacks(view, self.successive == "halves")
        stack, dense, clients = honest.stack.clone(), honest.dense.clone(), view.batch.clients
        for value, moved, purpose in (
            (stack, change, "fl-wbc-items"),
            (dense[:, None], dense_change[:, None], "fl-wbc-dense"),
        ):
            stream = view.streams.of_clients(purpose)
            add_laplace_noise(value, moved, stream, clients, self.scale)
        return Updates.in_stack(honest.table, stack, dense, honest.weight)

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


def changes_of_stacks(
    view: ClientView, in_halves: bool
) -> tuple[Float[Tensor, "n items d"], Float[Tensor, "n params"]]:
    """Return Δg on all rows of each client; on rows that it does not touch this is η·ridge²·v."""
    plain, batch, eta = view.plain, view.batch, view.devices.model.learning_rate
    if in_halves:
        earlier, batch = batch.halves()
        plain = view.devices.train(view.shared, view.positions, earlier, view.streams)
    before, local = plain.updates, view.devices.local[view.positions] - eta * plain.local
    stepped = Shared(view.shared.items - eta * before.stack, view.shared.dense - eta * before.dense)
    after = view.devices.model.gradients(stepped, local, batch, view.streams).updates
    return before.stack - after.stack, before.dense - after.dense


def changes(
    view: ClientView, in_halves: bool
) -> tuple[Int[Tensor, " rows"], Float[Tensor, "rows d"], Float[Tensor, "n params"]]:
    """Return the items of the rows, Δg on the rows, and Δg of the dense part, for each client."""
    plain, batch, eta = view.plain, view.batch, view.devices.model.learning_rate
    if in_halves:
        earlier, batch = batch.halves()
        plain = view.devices.train(view.shared, view.positions, earlier, view.streams)
    before = plain.updates
    embedding, ridge = before.table[before.item], before.ridge[before.owner][:, None]
    step = (before.value + ridge * embedding).mul_(eta)
    local = view.devices.local[view.positions] - eta * plain.local
    # Every client steps on its own table, which has only the rows that it touches.
    after = view.devices.model.gradients(
        Shared(embedding - step, view.shared.dense - eta * before.dense),
        local,
        batch.over_rows(),
        view.streams,
    ).updates
    change = (before.value - after.value).add_(ridge * step)
    return before.item, change, before.dense - after.dense
