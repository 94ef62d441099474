"""A whole run: round after round, what is measured on the way, and what it takes to go on."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydantic import ConfigDict, TypeAdapter
from torch import Tensor
from torch.profiler import record_function

from fedrec.attacks.base import Trace
from fedrec.config.cell_config import CellConfig
from fedrec.data.split import Split
from fedrec.federation import Federation, Round, on_host, play_round, set_up
from fedrec.kernels.compiled import on_cpu
from fedrec.metrics.detection import Detection
from fedrec.metrics.ranking import LeaveOneOut, Metrics, Ranking, ranking_metrics
from fedrec.metrics.uploads import Observer
from fedrec.records import Hits, Malicious
from fedrec.training.checkpoint import Snapshot


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


EVALUATIONS = TypeAdapter(list[Evaluation], config=ConfigDict(ser_json_inf_nan="constants"))


class Simulation:
    """A run after some of its rounds."""

    def __init__(self, config: CellConfig, split: Split, device: str) -> None:
        self._start, self._seconds_before = time.perf_counter(), 0.0
        self._protocol, self._stopped = config.protocol, False
        self._fed, population = set_up(config, split, device)
        repeats = config.protocol.repeat_targets
        self._users = len(population.evaluated)
        self._rank = LeaveOneOut(split, population.evaluated, repeats, device)
        self.observer = Observer(config.protocol.observe, config.protocol.window)
        self._detection = Detection()
        self._losses: list[float] = []  # of the rounds since the last evaluation
        self._played: list[Round] = []  # of these, what is not looked at yet
        self._trace: Trace = {}
        self.malicious = Malicious(users=len(population.malicious))
        self.round = 0
        self.evaluations: list[Evaluation] = []
        self.diverged_at: int | None = None

    @property
    def over(self) -> bool:
        """Whether no round is left to play."""
        return self._stopped or self.diverged_at is not None or self.round == self.rounds

    @property
    def _looks_at_once(self) -> bool:
        """Whether nobody waits longer for it than for a look at many rounds."""
        return on_cpu(self.items)

    @property
    def rounds(self) -> int:
        """How many rounds the protocol asks for."""
        return self._protocol.rounds

    @property
    def items(self) -> Float[Tensor, "items d"]:
        """The item embeddings as they stand: not to be changed."""
        return self._fed.server.shared.items

    def stop(self) -> None:
        """Play no further round; the record ends with the evaluation that there is."""
        self._stopped = True

    @property
    def seconds(self) -> float:
        """The time that the run has taken, before an interruption and since."""
        return self._seconds_before + time.perf_counter() - self._start

    def play(self) -> Evaluation | None:
        """One more round; gives an evaluation every so many rounds, and of the last.

        A run that diverges ends there. From then on its recommender recommends nothing, so its
        last evaluation has zeros for all metrics, and the mean loss of the rounds before.
        """
        self.round += 1
        with self._fed.tapes.on_stream():
            return self._play()

    def _play(self) -> Evaluation | None:
        try:
            self._played.append(play_round(self._fed, self.round, self.observer))
            due = self.over or self.round % self._protocol.evaluate_every == 0
            if due or self._looks_at_once:
                self._look()
            if due:
                return self._evaluated(evaluate(self._fed, self._rank))
        except FloatingPointError:
            self.diverged_at = self.round
            nothing = ranking_metrics(np.array([np.inf]))
            nobody = Hits(users=self._users, user=[], position=[])
            return self._evaluated(Ranking(nothing, nothing, nobody))
        return None

    @property
    def can_be_saved(self) -> bool:
        """Whether all that was played is looked at.

        The observer holds uploads back until the end of a window, and a GPU is asked when an
        evaluation is due.
        """
        return self.observer.settled and not self._played

    def snapshot(self) -> Snapshot:
        """All that changes from round to round."""
        state = self._fed.attack_state
        with self._fed.tapes.on_stream():
            arrays = self._fed.arrays()
        values = {
            "round": self.round,
            "seconds": self.seconds,
            "losses": self._losses,
            "trace": self._trace,
            "evaluations": EVALUATIONS.dump_python(self.evaluations, mode="json"),
            "detection": self._detection.state(),
            "malicious": self.malicious.model_dump(),
            "uploads": self.observer.columns,
            "attack": None if state is None else dataclasses.asdict(state),
        }
        return Snapshot(arrays, values)

    def restore(self, snapshot: Snapshot) -> None:
        """Be the run, of the same cell on the same data, that the snapshot was taken of."""
        values = snapshot.values
        with self._fed.tapes.on_stream():
            self._fed.restore(snapshot.arrays, values["attack"])
        self._detection.restore(values["detection"])
        self.malicious = Malicious(**values["malicious"])
        self.observer.columns = values["uploads"]
        self.evaluations = EVALUATIONS.validate_python(values["evaluations"])
        self._losses, self._trace = values["losses"], values["trace"]
        self.round, self._seconds_before = values["round"], values["seconds"]

    def _look(self) -> None:
        """See what the rounds played since the last look gave; on a GPU, wait for them."""
        played, self._played = self._played, []
        for one in on_host(played):
            self._see(one)
        self._fed.catch_up()
        self._trace = self._fed.trace or self._trace

    def _see(self, played: Round) -> None:
        self.round, after = played.number, self.round
        played.check()
        self.round = after
        self._losses.append(float(played.loss))
        self.malicious = self.malicious.after_round(int(played.malicious.sum()))
        if self._fed.defense.filters:
            self._detection.add(played.decision.kept, played.malicious, played.decision.scores)

    def _evaluated(self, ranking: Ranking) -> Evaluation:
        loss = float(np.mean(self._losses)) if self._losses else 0.0
        found = self._detection.summary() if self._fed.defense.filters else {}
        evaluation = Evaluation(self.round, *ranking, loss, self._trace, found)
        self.evaluations.append(evaluation)
        self._losses = []
        return evaluation


def evaluate(fed: Federation, rank: LeaveOneOut) -> Ranking:
    """How well the recommender ranks as it stands."""
    model = fed.devices.model
    with record_function("evaluation"):
        return rank(
            lambda users, past: model.scores(fed.server.shared, fed.devices.local[users], past),
            model.sequential,
        )
