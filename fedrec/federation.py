"""The federated simulation: its participants, and one round (paper, section 3.1)."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil, floor, isfinite, log10
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.profiler import record_function

from fedrec.attacks.base import (
    Attack,
    AttackerView,
    Forgery,
    Learning,
    Trace,
    knowledge_of,
)
from fedrec.clients.devices import Devices
from fedrec.clients.optimizers import LocalAdam, local_adam
from fedrec.clients.pairs import PairSource, training_pairs
from fedrec.config.cell_config import CellConfig
from fedrec.data.split import Split
from fedrec.defenses.base import ClientView, Decision, Defense, Memory, ServerView
from fedrec.errors import ConfigError
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.sums import total
from fedrec.kernels.tape import Host, Tapes
from fedrec.metrics.uploads import LabelledUploads, Watcher
from fedrec.models._resident import GpuModel
from fedrec.models.base import Shared
from fedrec.plan.cells import Cell, cell_path
from fedrec.rng import Streams
from fedrec.server import Server
from fedrec.threat_model import server_rule
from fedrec.updates import Updates

# A cohort's mean loss per pair at which training counts as diverged. It starts at about 0.7; a loss
# of this size means that scores are off by as much.
EXPLODED = 1e6


@dataclass(frozen=True)
class Population:
    """The users of a run, by id: which are malicious and which are evaluated."""

    n_users: int
    malicious: Int[Tensor, " malicious"]
    evaluated: Int[np.ndarray, " evaluated"]

    @staticmethod
    def draw(n_users: int, pool: float, ratio: float, streams: Streams) -> "Population":
        """Draw the pool of potential attackers and split off the evaluated users.

        The attack uses the first users of the pool; no user of the pool is evaluated. The pool has
        ⌊pool · users⌋ users, and ⌊ratio · users⌋ are malicious, as in both uploads.
        """
        size, count = _whole(pool, n_users), _whole(ratio, n_users)
        order = streams.generator("malicious-pool").permutation(n_users)
        malicious = np.sort(order[: min(count, size)])
        return Population(n_users, torch.from_numpy(malicious), np.sort(order[size:]))

    def check(self, cell: Cell, pool: float) -> None:
        """Check that an attack has at least one malicious user.

        Otherwise the cell's record would show a harmless attack.

        Raises:
            ConfigError: no user is malicious, although the cell's ratio is above 0.
        """
        if cell.ratio == 0 or len(self.malicious):
            return
        one = _rounded_up(1 / self.n_users)
        shares = {"a ratio": cell.ratio, "a protocol.pool": pool}
        too_small = [name for name, share in shares.items() if _whole(share, self.n_users) == 0]
        raise ConfigError(
            f"{cell_path(cell)}: none of its {self.n_users:,} users would be malicious: give "
            f"{' and '.join(too_small)} of at least {one:g}"
        )


@dataclass
class Federation:
    """The state of a run between two rounds."""

    attack: Attack[Any]
    attack_state: Any
    defense: Defense
    memory: Memory  # of the defence
    server: Server
    devices: Devices  # of all users
    malicious_pairs: PairSource
    local_adam: LocalAdam
    position: Int[Tensor, " users"]  # of each user among the malicious, or -1
    is_malicious: Bool[np.ndarray, " users"]
    tapes: Tapes  # the rounds recorded so far, on a GPU
    clients_per_round: int
    expected_malicious: int  # malicious uploads per round that the server assumes
    streams: Streams
    trace: Trace = field(default_factory=dict)  # of the last attacked round whose trace is known
    # What the attack has yet to learn from that round.
    seen: Float64[Tensor, "*numbers"] | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that rounds change, without the attack's state."""
        shared = self.server.shared
        tensors = {"items": shared.items, "dense": shared.dense, "local": self.devices.local}
        tensors |= {f"server/{name}": value for name, value in self.server.state().items()}
        tensors |= {f"clients/{name}": value for name, value in self.local_adam.state().items()}
        tensors |= {f"defense/{name}": value for name, value in self.memory.items()}
        return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}

    def restore(
        self, arrays: Mapping[str, np.ndarray], attack_state: Mapping[str, Any] | None
    ) -> None:
        """Restore the state saved in `arrays`. Negatives are redrawn from the seed, unchanged."""
        tensors = {n: torch.from_numpy(a).to(self.position.device) for n, a in arrays.items()}
        self.server.shared.items.copy_(tensors["items"])
        self.server.shared.dense.copy_(tensors["dense"])
        self.devices.local.copy_(tensors["local"])
        self.server.restore(_under("server/", tensors))
        self.local_adam.restore(_under("clients/", tensors))
        for name, value in self.memory.items():
            value.copy_(tensors[f"defense/{name}"])
        if attack_state is not None:
            self.attack_state = type(self.attack_state)(**attack_state)

    def cohort(self, streams: Streams) -> Int[np.ndarray, " n"]:
        """Draw the clients of a round."""
        return sample_clients(len(self.is_malicious), self.clients_per_round, streams)

    def attackers(self, streams: Streams) -> Int[np.ndarray, " m"]:
        """Return the positions of the malicious clients in the cohort."""
        return np.flatnonzero(self.is_malicious[self.cohort(streams)])

    def catch_up(self) -> None:
        """Pass the attack the result of its last round; the host may have to wait for the GPU."""
        if self.seen is not None and isinstance(self.attack, Learning):
            learnt = self.attack.learn(self.attack_state, self.seen.tolist())
            (self.attack_state, self.trace), self.seen = learnt, None


@dataclass(frozen=True)
class Round:
    """The results of one round that are recorded.

    On a GPU the numbers exist once the round has been played; reading them waits for that.
    """

    number: int
    loss: Float64[Tensor, ""]  # mean training loss of the cohort
    health: Float[Tensor, ""]  # finite if all parameters are
    malicious: Bool[Tensor, " n"]  # which uploads are malicious; no defence sees this
    decision: Decision

    def check(self) -> None:
        """Check that training has not diverged.

        Raises:
            FloatingPointError: training has diverged.
        """
        _check_loss(self.number, self.loss)
        if not isfinite(self.health):
            raise FloatingPointError(f"round {self.number}: a parameter is not finite")


@lru_cache(maxsize=4)
def sample_clients(n_users: int, count: int, streams: Streams) -> Int[np.ndarray, " n"]:
    """Draw the clients of one round without replacement. The array must not be changed."""
    return streams.generator("cohort").choice(n_users, min(count, n_users), replace=False)


def play_round(fed: Federation, number: int, watchers: Sequence[Watcher] = ()) -> Round:
    """Play one round: broadcast, train locally, forge, upload, defend, step.

    Those of `watchers` that watch this round see its uploads.

    Raises:
        FloatingPointError: training has diverged; on a GPU, `Round.check` raises it.
    """
    streams = fed.streams.at(number)
    malicious = torch.from_numpy(fed.is_malicious[fed.cohort(streams)])
    if malicious.any():
        fed.catch_up()
    watching = [watcher for watcher in watchers if watcher.watches(number)]
    if on_cpu(fed.position):
        played = _step(fed, streams, watching)
    else:
        played = _step_on_gpu(fed, streams, watching)
    fed.trace = played.trace or fed.trace
    if played.seen is not None:
        fed.seen = played.seen
    found = Round(number, played.loss, played.health, malicious, played.decision)
    if on_cpu(fed.position):
        found.check()
    return found


def on_host(rounds: Sequence[Round]) -> Sequence[Round]:
    """Copy the numbers of rounds to the host, with a single wait for the GPU."""
    if not rounds or on_cpu(rounds[0].loss):
        return rounds
    losses, healths = (
        torch.stack([getattr(r, x) for r in rounds]).cpu() for x in ("loss", "health")
    )
    decisions = [played.decision for played in rounds]
    kept = torch.stack([decision.kept for decision in decisions]).cpu()
    scores = {
        name: torch.stack([decision.scores[name] for decision in decisions]).cpu()
        for name in decisions[0].scores
    }
    return [
        replace(
            played,
            loss=losses[i],
            health=healths[i],
            decision=replace(
                played.decision, kept=kept[i], scores={name: x[i] for name, x in scores.items()}
            ),
        )
        for i, played in enumerate(rounds)
    ]


def _step_on_gpu(fed: Federation, streams: Streams, watching: Sequence[Watcher]) -> "Played":
    """Play a round's step on a GPU, by a recording if there is one for a round of this kind."""

    def body(host: Host, number: int) -> Played:
        return _step(fed, replace(streams, round=number, host=host), watching)

    kind = None if watching else _kind(fed, streams)
    return fed.tapes.play(kind, streams.round, body).kept()


def _kind(fed: Federation, streams: Streams) -> Hashable | None:
    """Return the key of a round's recording: the number of attackers and the attack's state.

    None means that the round cannot be recorded, because its state may change every round.
    """
    attackers, state = len(fed.attackers(streams)), fed.attack_state
    if state is None or not attackers:
        return attackers, None
    if isinstance(fed.attack, Learning):
        return attackers, fed.attack.recorded_for(state)
    return None


class Played(NamedTuple):
    """The results of a step. A replayed recording reuses these tensors with new numbers."""

    loss: Float64[Tensor, ""]
    health: Float[Tensor, ""]
    decision: Decision
    trace: Trace
    seen: Float64[Tensor, "*numbers"] | None

    def kept(self) -> "Played":
        """Copy the results, so that a replay does not overwrite them.

        The gradient is not copied, because nothing uses it later.
        """
        scores = {name: score.clone() for name, score in self.decision.scores.items()}
        decision = replace(self.decision, kept=self.decision.kept.clone(), scores=scores)
        seen = None if self.seen is None else self.seen.clone()
        return Played(self.loss.clone(), self.health.clone(), decision, self.trace, seen)


def _step(fed: Federation, streams: Streams, watching: Sequence[Watcher]) -> Played:
    """Do the work of one round. On a GPU it is recorded, so nothing here may wait for a result."""
    shared = fed.server.shared
    with record_function("server: sample clients"):
        cohort, places = streams.drawn(fed.cohort), streams.drawn(fed.attackers)
    with record_function("clients: gather pairs"):
        batch = fed.devices.pairs.batch(cohort, streams)
    with record_function("clients: local gradients"):
        plain = fed.devices.train(shared, cohort, batch, streams)
        loss = total(plain.loss) / len(cohort)
    if on_cpu(loss):
        _check_loss(streams.round, loss)
    with record_function("clients: the defence's task"):
        view = ClientView(shared, fed.devices, cohort, batch, plain, streams)
        honest = fed.defense.on_clients(plain, view)
    received, own, trace, seen = honest.updates, honest.local, {}, None
    if len(places):
        with record_function("attack: forge"):
            forgery = _forge(fed, cohort[places], plain.updates.at(places), streams)
            trace, seen = forgery.trace, forgery.seen
            # Malicious uploads take their clients' positions and carry no mark.
            received = received.replaced(places, forgery.updates)
            local = forgery.local
            if local is None and own is not plain.local:  # tasks are for honest clients
                local = plain.local.index_select(0, places)
            if local is not None:
                own = own.index_copy(0, places, local)
    with record_function("defense: aggregate"):
        known = (shared, fed.server.preview, fed.expected_malicious, streams, fed.memory)
        decision = fed.defense(received, ServerView(*known))
    if watching:  # before the step, because it changes the table that the uploads refer to
        _show(watching, fed, streams, received, decision)
    with record_function("server: step"):
        fed.server.apply(decision.gradient)
    with record_function("clients: own step"):
        fed.local_adam.step(cohort, own)
    # A sum is finite only if every term is finite, and it is cheaper than testing each term.
    health = shared.items.sum() + shared.dense.sum() + fed.devices.local[cohort].sum()
    return Played(loss, health, decision, trace, seen)


def _show(
    watching: Sequence[Watcher],
    fed: Federation,
    streams: Streams,
    received: Updates,
    decision: Decision,
) -> None:
    """Show the uploads of a round, with labels, to those who watch it."""
    users = fed.cohort(streams)
    malicious = torch.from_numpy(fed.is_malicious[users])
    kept, scores = decision.kept, decision.scores
    uploads = LabelledUploads(streams.round, received, users, malicious, kept, scores)
    for watcher in watching:
        watcher.see(uploads)


def _check_loss(number: int, loss: Float64[Tensor, ""]) -> None:
    if not abs(float(loss)) < EXPLODED:  # also true for NaN
        raise FloatingPointError(f"round {number}: the loss is {loss:g}")


def _forge(
    fed: Federation, selected: Int[Tensor, " m"], benign: Updates, streams: Streams
) -> Forgery[Any]:
    """Run the attack for the malicious clients of a cohort; `benign` has their honest uploads."""
    own = fed.devices.local[fed.malicious_pairs.users]
    devices = Devices(fed.devices.model, fed.malicious_pairs, own)
    view = AttackerView(
        shared=fed.server.shared,
        devices=devices,
        selected=fed.position[selected],
        benign=benign,
        who=lambda own: fed.cohort(own)[fed.attackers(own)],
    )
    assumed = fed.expected_malicious, fed.clients_per_round
    rule = server_rule(fed.defense, fed.server, devices, assumed, streams, fed.memory)
    shown = rule.shown(view, knowledge_of(fed.attack))
    forgery = fed.attack.forge(shown, fed.attack_state, streams)
    fed.attack_state = forgery.state
    return forgery


def _under(head: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `head`, with `head` removed from the names."""
    return {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}


def _whole(share: float, count: int) -> int:
    """Return ⌊share · count⌋, not affected by rounding errors in the product."""
    return floor(round(share * count, 9))


def _rounded_up(value: float) -> float:
    """Round up to four significant digits, so that the result is still a sufficient share."""
    scale = 10.0 ** (3 - floor(log10(value)))
    return ceil(value * scale) / scale


def expected_malicious(clients: int, ratio: float, believed: float = 1.0) -> int:
    """Return the malicious uploads per round that a server assumes; 0 without attack.

    They are ⌈n·m%·believed⌉, and at most n.
    """
    return min(ceil(round(clients * ratio * believed, 9)), clients)


def set_up(config: CellConfig, split: Split, device: str) -> tuple[Federation, Population]:
    """Build a federation as it is before the first round.

    Raises:
        ConfigError: the cell has an attack, but with so few users none would be malicious.
    """
    streams = Streams(config.cell.seed)
    # A pool drawn once for all seeds is the pool of seed 0.
    drawing = streams if config.protocol.pool_drawn == "per_seed" else Streams(0)
    population = Population.draw(split.n_users, config.protocol.pool, config.cell.ratio, drawing)
    population.check(config.cell, config.protocol.pool)
    users = torch.arange(split.n_users, device=device)
    malicious = population.malicious.to(device)
    position = torch.full_like(users, -1)
    position[malicious] = torch.arange(len(malicious), device=device)
    model, protocol = config.model, config.protocol
    shared, local = model.init_shared(split.n_items, streams), model.init_local(len(users), streams)
    shared, local = Shared(shared.items.to(device), shared.dense.to(device)), local.to(device)
    resident = isinstance(model, GpuModel)
    pairs = training_pairs(split, users, protocol.negatives, streams, resident)
    clients = min(protocol.clients_per_round, split.n_users)
    fed = Federation(
        attack=config.attack,
        attack_state=config.attack.initial_state(),
        defense=config.defense,
        memory=config.defense.remember(shared),
        server=Server(shared, model.learning_rate),
        devices=Devices(model, pairs, local),
        malicious_pairs=pairs.of(malicious),
        local_adam=local_adam(protocol.user_optimizer, local, model.learning_rate),
        position=position,
        is_malicious=np.isin(np.arange(split.n_users), population.malicious.numpy()),
        tapes=Tapes(position.device),
        clients_per_round=clients,
        expected_malicious=expected_malicious(clients, config.cell.ratio, protocol.believed),
        streams=streams,
    )
    fed.tapes.wait()
    return fed, population
