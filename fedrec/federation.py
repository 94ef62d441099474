"""The federated simulation: one round, and a whole run (paper, section 3.1)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.profiler import record_function

from fedrec.attacks.base import Attack, AttackerView, Trace
from fedrec.clients import Devices, LocalAdam, PairSource, local_adam, training_pairs
from fedrec.config import CellConfig
from fedrec.data.split import Split
from fedrec.defenses.base import ClientView, Defense, ServerView, Verdict
from fedrec.metrics.detection import Detection
from fedrec.metrics.ranking import LeaveOneOut, Metrics, Ranking
from fedrec.metrics.uploads import Observer
from fedrec.models.base import Shared
from fedrec.records import Hits
from fedrec.rng import Streams
from fedrec.server import Server
from fedrec.updates import Updates


@dataclass(frozen=True)
class Population:
    """Who takes part in a run, by user id."""

    n_users: int
    malicious: Int[Tensor, " malicious"]
    evaluated: Int[np.ndarray, " evaluated"]

    @staticmethod
    def draw(n_users: int, pool: float, ratio: float, streams: Streams) -> "Population":
        """A pool of users drawn per seed; an attack takes the first of it, none is evaluated."""
        size = int(pool * n_users)
        order = streams.generator("malicious-pool").permutation(n_users)
        malicious = np.sort(order[: min(round(ratio * n_users), size)])
        return Population(n_users, torch.from_numpy(malicious), np.sort(order[size:]))


@dataclass
class Federation:
    """A run between two rounds: everything that changes is in here."""

    attack: Attack[Any]
    attack_state: Any
    defense: Defense
    server: Server
    devices: Devices  # of all users
    malicious_pairs: PairSource
    local_adam: LocalAdam
    position: Int[Tensor, " users"]  # of each user among the malicious, or -1
    clients_per_round: int
    expected_malicious: int  # in a round, by the defender's reckoning
    streams: Streams


@dataclass(frozen=True)
class Round:
    """What one round leaves to be recorded."""

    loss: float  # mean training loss of the cohort
    attack: Trace  # what the attack says of itself; empty if no malicious client took part
    malicious: Bool[Tensor, " n"]  # the truth about the uploads, which no defence sees
    verdict: Verdict


@dataclass(frozen=True)
class Evaluation:
    """The state of the recommender after some rounds."""

    round: int
    validation: Metrics
    test: Metrics
    hits: Hits
    loss: float  # mean over the rounds since the last evaluation
    attack: Trace  # of the last attacked round
    defense: Mapping[str, float | None]  # of the rounds since the last evaluation


def sample_clients(n_users: int, count: int, streams: Streams) -> Int[np.ndarray, " n"]:
    """The clients of one round, without replacement."""
    return streams.generator("cohort").choice(n_users, min(count, n_users), replace=False)


def play_round(fed: Federation, number: int, observer: Observer | None = None) -> Round:
    """Broadcast, train locally, forge, upload, defend, step."""
    streams = fed.streams.at(number)
    shared = fed.server.shared
    with record_function("server: sample clients"):
        chosen = sample_clients(len(fed.position), fed.clients_per_round, streams)
        cohort = torch.from_numpy(chosen).to(fed.position.device)
        malicious = fed.position[cohort] >= 0
    with record_function("clients: gather pairs"):
        batch = fed.devices.pairs.batch(cohort, streams)
    with record_function("clients: local gradients"):
        plain = fed.devices.train(shared, cohort, batch, streams)
    with record_function("clients: the defence's task"):
        view = ClientView(shared, fed.devices, cohort, batch, plain, streams)
        received = fed.defense.on_clients(plain, view).updates
    trace: Trace = {}
    if malicious.any():
        with record_function("attack: forge"):
            forged, trace = _forge(fed, cohort[malicious], plain.updates.select(malicious), streams)
            # Malicious uploads stand in their clients' places, unmarked.
            received = received.replaced(malicious.nonzero()[:, 0], forged)
    with record_function("defense: aggregate"):
        verdict = fed.defense(
            received, ServerView(shared, fed.server.preview, fed.expected_malicious, streams)
        )
    if observer:  # before the step, which changes the table that uploads refer to
        observer.see(number, received, malicious, verdict.scores)
    with record_function("server: step"):
        fed.server.apply(verdict.gradient)
    with record_function("clients: own step"):
        fed.local_adam.step(cohort, plain.local)
    return Round(float(plain.loss.mean()), trace, malicious, verdict)


def _forge(
    fed: Federation, selected: Int[Tensor, " m"], benign: Updates, streams: Streams
) -> tuple[Updates, Trace]:
    """What the malicious clients of a cohort upload; `benign` is what they trained honestly."""
    own = fed.devices.local[fed.malicious_pairs.users]
    view = AttackerView(
        shared=fed.server.shared,
        devices=Devices(fed.devices.model, fed.malicious_pairs, own),
        selected=fed.position[selected],
        benign=benign,
    )
    forgery = fed.attack.forge(view, fed.attack_state, streams)
    fed.attack_state = forgery.state
    return forgery.updates, forgery.trace


def expected_malicious(clients: int, ratio: float) -> int:
    """How many of a round's uploads a server prepares for: ⌈n·m%⌉, and at least 1."""
    return max(ceil(round(clients * ratio, 9)), 1)


def set_up(config: CellConfig, split: Split, device: str) -> tuple[Federation, Population]:
    """A federation before its first round."""
    streams = Streams(config.cell.seed)
    population = Population.draw(split.n_users, config.protocol.pool, config.cell.ratio, streams)
    users = torch.arange(split.n_users, device=device)
    malicious = population.malicious.to(device)
    position = torch.full_like(users, -1)
    position[malicious] = torch.arange(len(malicious), device=device)
    model, protocol = config.model, config.protocol
    shared, local = model.init_shared(split.n_items, streams), model.init_local(len(users), streams)
    shared, local = Shared(shared.items.to(device), shared.dense.to(device)), local.to(device)
    pairs = training_pairs(split, users, protocol.negatives, streams)
    fed = Federation(
        attack=config.attack,
        attack_state=config.attack.initial_state(),
        defense=config.defense,
        server=Server(shared, model.learning_rate),
        devices=Devices(model, pairs, local),
        malicious_pairs=pairs.of(malicious),
        local_adam=local_adam(protocol.user_optimizer, local, model.learning_rate),
        position=position,
        clients_per_round=protocol.clients_per_round,
        expected_malicious=expected_malicious(protocol.clients_per_round, config.cell.ratio),
        streams=streams,
    )
    return fed, population


def simulate(
    config: CellConfig,
    split: Split,
    device: str,
    on_round: Callable[[int, Round], None] = lambda number, played: None,
    observer: Observer | None = None,
) -> Iterator[Evaluation]:
    """Play all rounds of a cell; yields an evaluation every so many rounds and at the end."""
    fed, population = set_up(config, split, device)
    rank = LeaveOneOut(split, population.evaluated, config.protocol.repeat_targets, device)
    losses: list[float] = []
    trace: Trace = {}
    detection = Detection()
    for number in range(1, config.protocol.rounds + 1):
        played = play_round(fed, number, observer)
        on_round(number, played)
        losses.append(played.loss)
        trace = played.attack or trace
        if fed.defense.filters:
            detection.add(played.verdict.kept, played.malicious, played.verdict.scores)
        if number % config.protocol.evaluate_every == 0 or number == config.protocol.rounds:
            ranking = evaluate(fed, rank)
            found = detection.summary() if fed.defense.filters else {}
            yield Evaluation(number, *ranking, float(np.mean(losses)), trace, found)
            losses = []


def evaluate(fed: Federation, rank: LeaveOneOut) -> Ranking:
    """How well the recommender ranks as it stands."""
    model = fed.devices.model
    with record_function("evaluation"):
        return rank(
            lambda users, past: model.scores(fed.server.shared, fed.devices.local[users], past),
            model.sequential,
        )
