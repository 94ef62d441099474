"""ClusterAttack: pull item embeddings into a few dense clusters (paper, section 4.1)."""

from dataclasses import dataclass, replace
from math import floor, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from fedrec.attacks._cluster_settings import ClusterSettings, NormRule
from fedrec.attacks._normal_gradients import item_norm_statistics, normal_updates
from fedrec.attacks.base import AttackerView, Forgery, Trace
from fedrec.clients.contrastive import Contrastive
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device.draws import uniform
from fedrec.kernels.k_means import Clusters, k_means
from fedrec.kernels.sums import squared_norms, total
from fedrec.models._resident import ResidentBatch
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Updates


@dataclass(frozen=True)
class Clustering:
    """The state of adaptive clustering (Algorithm 1); it counts *attacked* rounds."""

    clusters: int  # K
    rounds: int = 0  # t
    average: float = 0.0  # L̃
    smoothed: float | None = 0.0  # L̂ of the last attacked round; None: do not compare with it
    rises: int = 0  # n_inc
    falls: int = 0  # n_dec


@settings
class ClusterAttack(ClusterSettings):
    """Uploads gradients of the within-cluster variance (Eq. 2), bounded like normal ones (Eq. 3).

    K-means, started from random items, splits the item table into K clusters. Each item's gradient
    2(v − c) is bounded by a norm of μ + λσ. Here μ and σ are the mean and standard deviation of the
    norms of normal item gradients, and λ ~ U[0, `spread`] is drawn for each item and
    client. The other gradients and the sample count are the client's true ones. `ClusterSettings`
    has the settings.
    """

    def initial_state(self) -> Clustering:
        """Return the initial values of Algorithm 1."""
        return self._restart(self.clusters)

    def forge(self, view: AttackerView, state: Clustering, streams: Streams) -> Forgery[Clustering]:
        """Run one round of Figure 1: cluster, differentiate, bound, upload, adapt K."""
        items = view.shared.items
        found = self._cluster(items, state.clusters, streams)
        offset = items - found.centroid[found.label]  # (items, d)
        scale = state.clusters if self.loss_over_clusters else 1
        loss = total(squared_norms(offset)) / scale
        gradient = offset * (2 / scale)
        descended = self._with_contrastive(gradient, view, streams)
        bound = self._norm_bounds(view, streams)
        forged = hold_to_bound(descended, bound, self.norm_rule)
        updates = Updates.over_all_items(view.benign, forged, view.benign.dense)
        if not on_cpu(loss):
            return Forgery(updates, state, seen=loss)
        return Forgery(updates, *self.learn(state, float(loss)))

    def learn(self, state: Clustering, seen: float) -> tuple[Clustering, Trace]:
        """Adapt K, given this attacked round's loss (Eq. 2)."""
        adapted = self.adapt(state, seen) if self.adaptive else state
        return adapted, {"clusters": state.clusters, "attack_loss": seen}

    def recorded_for(self, state: Clustering) -> int:
        """Return K; only `learn` uses the rest of the state."""
        return state.clusters

    def adapt(self, state: Clustering, loss: float) -> Clustering:
        """Take one step of Algorithm 1, given this attacked round's loss (Eq. 2)."""
        rounds = state.rounds + 1
        average = self.decay * state.average + (1 - self.decay) * loss
        smoothed = average / (1 - self.decay**rounds)
        rose = state.smoothed is not None and smoothed > state.smoothed
        fell = state.smoothed is not None and not rose
        rises, falls = state.rises + rose, state.falls + fell
        k, gap = state.clusters, rises - falls
        if self._fires(gap):
            return self._restart(
                min(self._round(k + sqrt(self.max_clusters - k)), self.max_clusters)
            )
        if self._fires(-gap):
            return self._restart(
                max(self._round(k - sqrt(k - self.min_clusters)), self.min_clusters)
            )
        return replace(
            state, rounds=rounds, average=average, smoothed=smoothed, rises=rises, falls=falls
        )

    def _cluster(self, items: Float[Tensor, "items d"], k: int, streams: Streams) -> Clusters:
        n = len(items)
        chosen = streams.drawn(
            lambda own: own.generator("cluster-start").choice(n, min(k, n), False)
        )
        return k_means(items, items[chosen], self.tolerance, self.max_iterations)

    def _with_contrastive(
        self, gradient: Float[Tensor, "items d"], view: AttackerView, streams: Streams
    ) -> Float[Tensor, "*clients items d"]:
        """Add α ∂L_cl/∂v of each malicious client to the gradient, if α is not 0."""
        if not self.contrastive:
            return gradient
        devices = view.devices
        task = Contrastive(self.contrastive, self.negatives, devices.model.dropout, self.reduction)
        batch = devices.pairs.batch(view.selected, streams)
        if isinstance(batch, ResidentBatch):
            return task.added_on_device(gradient, view.shared.items, batch, streams)
        histories = batch.history.split(batch.sizes.tolist())
        return gradient + torch.stack(
            [
                task.gradient(view.shared.items, client, history, streams)
                for client, history in zip(batch.clients.tolist(), histories, strict=True)
            ]
        )

    def _norm_bounds(self, view: AttackerView, streams: Streams) -> Float[Tensor, "m items"]:
        """Return b = μ + λσ for each malicious client and item."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = item_norm_statistics(normal, self.norms_over == "all_items")
        return mean + self._factors(view, streams) * self.spread * deviation

    def _factors(self, view: AttackerView, streams: Streams) -> Float[Tensor, "m items"]:
        """Draw from U[0, 1) for each malicious client and item."""
        n_items = len(view.shared.items)
        if on_cpu(view.shared.items):
            return view.drawn(streams, lambda own, c: own.of("norm-bound", c).uniform((n_items,)))
        return uniform(streams.of_clients("norm-bound"), view.clients, 1, n_items)[:, 0]

    def _fires(self, gap: int) -> bool:
        return gap > self.threshold or (gap == self.threshold and self.trigger == "reached")

    def _round(self, k: float) -> int:
        return floor(k) if self.rounding == "floor" else round(k)

    def _restart(self, clusters: int) -> Clustering:
        return Clustering(clusters, smoothed=0.0 if self.count_first else None)


def hold_to_bound(
    gradient: Float[Tensor, "*clients items d"], bound: Float[Tensor, "m items"], rule: NormRule
) -> Float[Tensor, "m items d"]:
    """Shrink each malicious client's rows to their bounds (Eq. 3), or scale them exactly."""
    # The floor gives an item on its centroid a zero gradient instead of a division by zero.
    norm = squared_norms(gradient.flatten(0, -2)).sqrt().view(gradient.shape[:-1])
    scale = bound / norm.clamp(min=1e-8)
    if rule == "clip":
        scale = scale.clamp(max=1)
    return gradient * scale[..., None]
