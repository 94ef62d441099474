"""A whole run: its rounds, its measurements, and the state that is needed to resume it."""

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
from fedrec.metrics.upload_sizes import UploadSizes
from fedrec.metrics.uploads import Observer, Watcher
from fedrec.records import Hits, Malicious
from fedrec.training.checkpoint import Snapshot


@dataclass(frozen=True)
class Evaluation:
    """The measurements of one evaluation."""

    round: int
    validation: Metrics
    test: Metrics
    hits: Hits
    loss: float  # mean over the rounds since the last evaluation
    attack: Trace  # trace of the last attacked round
    defense: Mapping[str, float | None]  # detection over the rounds since the last evaluation


EVALUATIONS = TypeAdapter(list[Evaluation], config=ConfigDict(ser_json_inf_nan="constants"))


class Simulation:
    """A run, of which some rounds have been played."""

    def __init__(self, config: CellConfig, split: Split, device: str) -> None:
        self._start, self._seconds_before = time.perf_counter(), 0.0
        self._protocol, self._stopped = config.protocol, False
        self._fed, population = set_up(config, split, device)
        repeats = config.protocol.repeat_targets
        self._users = len(population.evaluated)
        self._rank = LeaveOneOut(split, population.evaluated, repeats, device)
        self.observer = Observer(config.protocol.observe, config.protocol.window)
        self.sizes = UploadSizes(on_cpu(self.items))
        self.watchers: list[Watcher] = [self.observer, self.sizes]  # of the uploads
        self._detection = Detection()
        self._losses: list[float] = []  # losses of the rounds since the last evaluation
        self._played: list[Round] = []  # rounds whose results have not been read yet
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
        """Whether results are read after every round: on a CPU this needs no waiting."""
        return on_cpu(self.items)

    @property
    def rounds(self) -> int:
        """The number of rounds in the protocol."""
        return self._protocol.rounds

    @property
    def items(self) -> Float[Tensor, "items d"]:
        """The current item embeddings; they must not be changed."""
        return self._fed.server.shared.items

    def stop(self) -> None:
        """Stop the run: play no further round. The record ends with the last evaluation."""
        self._stopped = True

    @property
    def seconds(self) -> float:
        """The time of the run in seconds, including the time before an interruption."""
        return self._seconds_before + time.perf_counter() - self._start

    def play(self) -> Evaluation | None:
        """Play one more round; return an evaluation if one is due or if the round is the last.

        A run ends when it diverges. Its recommender then recommends nothing, so its last evaluation
        has zeros for all metrics, and the mean loss of the rounds before.
        """
        self.round += 1
        with self._fed.tapes.on_stream():
            return self._play()

    def _play(self) -> Evaluation | None:
        try:
            self._played.append(play_round(self._fed, self.round, self.watchers))
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
        """Whether the results of all played rounds have been read.

        The observer holds uploads back until the end of a window, and a GPU's results are read only
        when an evaluation is due.
        """
        return self.observer.settled and not self._played

    def snapshot(self) -> Snapshot:
        """Return all state that changes from round to round."""
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
            "sizes": self.sizes.state(),
            "attack": None if state is None else dataclasses.asdict(state),
        }
        return Snapshot(arrays, values)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore a snapshot, which must come from a run of the same cell on the same data."""
        values = snapshot.values
        with self._fed.tapes.on_stream():
            self._fed.restore(snapshot.arrays, values["attack"])
        self._detection.restore(values["detection"])
        self.malicious = Malicious(**values["malicious"])
        self.observer.columns = values["uploads"]
        if "sizes" in values:  # a checkpoint of earlier code has none; counting starts after it
            self.sizes.restore(values["sizes"])
        self.evaluations = EVALUATIONS.validate_python(values["evaluations"])
        self._losses, self._trace = values["losses"], values["trace"]
        self.round, self._seconds_before = values["round"], values["seconds"]

    def _look(self) -> None:
        """Read the results of the rounds played since the last call; on a GPU, wait for them."""
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
    """Compute the ranking metrics of the current recommender."""
    model = fed.devices.model
    with record_function("evaluation"):
        return rank(
            lambda users, past: model.scores(fed.server.shared, fed.devices.local[users], past),
            model.sequential,
        )
