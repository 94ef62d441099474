"""The pretend device: it refuses what a GPU refuses, and counts what a GPU suffers from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.bench.counted import Counted, average, count_case, counted_lines
from fedrec.bench.pretend import Counts, is_pretend, pretending
from fedrec.bench.report import Benchmark
from fedrec.cli.main import main
from fedrec.config.cell_config import CellConfig
from fedrec.config.study import Study
from fedrec.federation import play_round, set_up
from fedrec.kernels.adam import Adam
from fedrec.kernels.device.operation import operation
from fedrec.models.sas_rec import SASRec
from fedrec.plan.cells import BASELINE, PLAIN, Cell
from fedrec.training.checkpoint import load, save
from fedrec.training.simulation import Evaluation, Simulation
from tests.bench.test_bench import small_case
from tests.builders import tiny_split

SPLIT = tiny_split()
STUDY = Study.load("config/miniature.yaml")
ROUNDS = 3

# Of a round, by the kind of its cell: operations and synchronisations at most. An attack and FL-WBC
# have SASRec's gradients worked out a second and a third time, at 67 operations each.
BOUNDS = {
    **{"MF, plain": (40, 0), "MF": (200, 2)},
    **{"SASRec, plain": (100, 0), "SASRec": (300, 2)},
    **{"NCF, plain": (100, 0), "NCF": (300, 2)},
}


@pytest.fixture
def counts() -> Iterator[Counts]:
    with pretending() as counted:
        yield counted


def there(*values: float) -> Tensor:
    return torch.tensor(values).to("cuda", non_blocking=True)


def cost(counts: Counts, work: Callable[[], object]) -> tuple[int, int, int, int]:
    """Operations, synchronisations, copies and copied bytes of some work."""
    before = counts.snapshot()
    work()
    found = counts - before
    return found.operations, found.synchronisations, found.copies, found.copied_bytes


def test_a_snippet_is_counted_to_the_last_operation(counts: Counts) -> None:
    def snippet() -> None:
        x = torch.from_numpy(np.ones((4, 3), np.float32)).to("cuda")  # a copy, which waits
        y = torch.zeros(4, 3, device="cuda").add_(x) @ x.T  # three operations
        total = y.view(-1).unsqueeze(0).expand(2, -1).sum()  # one
        assert float(total) == 96.0  # waits

    assert cost(counts, snippet) == (4, 2, 1, 48)
    counts.reset()
    assert counts == Counts() and not counts.names


def test_the_device_is_there_and_says_so(counts: Counts) -> None:
    x = torch.ones(2, device="cuda")
    made = (x + 1, x.new_zeros(3), torch.arange(2, device=x.device), torch.eye(2, device="cuda:0"))
    for tensor in (x, *made, torch.full((2,), 1.0, device=torch.device("cuda"))):
        assert is_pretend(tensor) and tensor.is_cuda and tensor.device.type == "cuda"
    assert not is_pretend(x.cpu()) and not is_pretend(torch.ones(2))
    assert not is_pretend(torch.zeros_like(x, device="cpu"))
    assert "pretend(tensor([1., 1.]))" in repr(x)


def test_nothing_is_there_outside() -> None:
    with pretending():
        x = there(1.0)
    with pytest.raises(RuntimeError, match="within pretending"):
        x.add(1)


MISPLACED: dict[str, Callable[[Tensor], object]] = {
    "operand": lambda x: x + torch.ones(2),
    "in a list": lambda x: torch.cat([x, torch.ones(2)]),
    "target": lambda x: torch.tensor(0.0).add_(x.sum()),
    "out": lambda x: torch.add(x, x, out=torch.empty(2)),
    "index of the host's": lambda x: torch.ones(2)[x.long()],
    "written": lambda x: x.index_copy_(0, torch.zeros(1, dtype=torch.int64), there(1.0)),
}


@pytest.mark.parametrize("name", MISPLACED)
def test_a_misplaced_operand_is_refused(name: str, counts: Counts) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        MISPLACED[name](there(0.0, 1.0))


def test_an_array_is_refused(counts: Counts) -> None:
    with pytest.raises(TypeError, match="can't convert"):
        there(1.0).numpy()


def test_a_number_of_the_host_is_an_operand(counts: Counts) -> None:
    assert cost(counts, lambda: there(1.0, 2.0) * torch.tensor(3.0)) == (1, 0, 1, 8)


FREE: dict[str, Callable[[Tensor], object]] = {
    "views": lambda x: x.view(2, 2).T[0].detach().unsqueeze(0).expand(3, -1).permute(1, 0).split(1),
    "more views": lambda x: x.reshape(2, 2).select(0, 1).unbind()[0].as_strided((1,), (1,)).t(),
    "a shape in place": lambda x: x.view(2, 2).unsqueeze_(0).squeeze_(0).t_(),
    "empty": lambda x: (torch.empty_like(x), x.new_empty(3), torch.empty(2, device="cuda")),
    "the same place": lambda x: x.to("cuda").contiguous().float(),
    "pinned": lambda x: torch.ones(2).pin_memory(),
    "the host's": lambda x: torch.ones(2).add(1).sum().item(),
}


@pytest.mark.parametrize("name", FREE)
def test_what_starts_no_kernel_is_free(name: str, counts: Counts) -> None:
    x = there(1.0, 2.0, 3.0, 4.0)
    assert cost(counts, lambda: FREE[name](x)) == (0, 0, 0, 0)


# With a tensor [0, 1, 1, 3] of floats, of integers, and a mask: operations, waits, copies, bytes.
WAITS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], object], tuple[int, int, int, int]]] = {
    "item": (lambda x, i, m: x[1].item(), (0, 1, 0, 0)),
    "bool": (lambda x, i, m: bool(x[1]), (0, 1, 0, 0)),
    "int": (lambda x, i, m: int(i[1]), (0, 1, 0, 0)),
    "float": (lambda x, i, m: float(x[1]), (0, 1, 0, 0)),
    "if": (lambda x, i, m: 1 if m.all() else 0, (1, 1, 0, 0)),
    "tolist": (lambda x, i, m: x.tolist(), (0, 1, 1, 16)),
    "cpu": (lambda x, i, m: x.cpu(), (0, 1, 1, 16)),
    "to the host": (lambda x, i, m: torch.empty(4).copy_(x), (0, 1, 1, 16)),
    "from the host": (lambda x, i, m: x.copy_(torch.ones(4)), (0, 1, 1, 16)),
    "a tensor of numbers": (lambda x, i, m: torch.tensor([1, 2], device="cuda"), (0, 1, 1, 16)),
    "one like another": (lambda x, i, m: x.new_tensor([1, 2]), (0, 1, 1, 8)),
    "nonzero": (lambda x, i, m: m.nonzero(), (1, 1, 0, 0)),
    "masked": (lambda x, i, m: x[m], (1, 1, 0, 0)),
    "masked_select": (lambda x, i, m: x.masked_select(m), (1, 1, 0, 0)),
    "written by a mask": (lambda x, i, m: x.__setitem__(m, i[1:].float()), (2, 1, 0, 0)),
    "unique": (lambda x, i, m: i.unique(), (1, 1, 0, 0)),
    "rows": (lambda x, i, m: i.view(2, 2).unique(dim=0), (1, 1, 0, 0)),
    "bincount": (lambda x, i, m: i.bincount(), (1, 1, 0, 0)),
    "equal": (lambda x, i, m: x.equal(x), (1, 1, 0, 0)),
    "repeated": (lambda x, i, m: torch.repeat_interleave(i), (1, 1, 0, 0)),
    "an index of the host": (lambda x, i, m: x[[0, 2]], (1, 1, 1, 16)),
    "a number at indices": (lambda x, i, m: x.__setitem__(i, 5.0), (1, 1, 1, 4)),
    "a number at a place": (lambda x, i, m: x.__setitem__(1, 5.0), (0, 1, 1, 4)),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_seen(name: str, counts: Counts) -> None:
    work, expected = WAITS[name]
    x, i = there(0.0, 1.0, 1.0, 3.0), there(0.0, 1.0, 1.0, 3.0).long()
    mask = i > 0
    assert cost(counts, lambda: work(x, i, mask)) == expected


WAITLESS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], object], tuple[int, int, int, int]]]
WAITLESS = {
    "sent ahead": (lambda x, i, m: x.copy_(torch.ones(4), non_blocking=True), (0, 0, 1, 16)),
    "on the way": (lambda x, i, m: x.to("cpu", non_blocking=True), (0, 0, 1, 16)),
    "repeated": (lambda x, i, m: torch.repeat_interleave(i, output_size=5), (1, 0, 0, 0)),
    "an index": (lambda x, i, m: x[i], (1, 0, 0, 0)),
    "a number at a mask": (lambda x, i, m: x.__setitem__(m, 5.0), (1, 0, 0, 0)),
    "a number in a slice": (lambda x, i, m: x.__setitem__(slice(2), 5.0), (1, 0, 0, 0)),
    "nothing": (lambda x, i, m: torch.ones(0).to("cuda"), (0, 0, 0, 0)),
}


@pytest.mark.parametrize("name", WAITLESS)
def test_what_does_not_wait_is_not_seen_to(name: str, counts: Counts) -> None:
    work, expected = WAITLESS[name]
    x, i = there(0.0, 1.0, 1.0, 3.0), there(0.0, 1.0, 1.0, 3.0).long()
    mask = i > 0
    assert cost(counts, lambda: work(x, i, mask)) == expected


def test_in_place_results_are_the_tensors_that_were_given(counts: Counts) -> None:
    x, out = there(1.0, 2.0), torch.empty(2, device="cuda")
    assert x.add_(1) is x and torch.mul(x, 2, out=out) is out
    x.view(2, 1)[0].zero_()
    assert_close((x.cpu(), out.cpu()), (torch.tensor([0.0, 3.0]), torch.tensor([4.0, 6.0])))


def test_gradients_pass_through(counts: Counts) -> None:
    x, w = there(1.0, 2.0, 3.0), there(0.5, 0.5, 2.0).requires_grad_()
    (found,) = torch.autograd.grad((x * w).square().sum(), [w])
    assert is_pretend(found)
    assert_close(found.cpu(), torch.tensor([1.0, 4.0, 36.0]))


def test_adam_steps_as_on_the_cpu(counts: Counts) -> None:
    def stepped(device: str) -> Tensor:
        table, gradient = torch.arange(6.0).to(device), torch.ones(6).to(device)
        optimiser = Adam([table], 0.1)
        optimiser.step([gradient])
        assert cost(counts, lambda: optimiser.step([gradient]))[1:] == (0, 0, 0)
        return table.cpu()

    assert_close(stepped("cuda"), stepped("cpu"))
    assert counts.names["adam_step"] == 2


class Pair(NamedTuple):
    """A named tuple of an operation's arguments."""

    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Both:
    """A dataclass of them."""

    pair: Pair
    factor: float


@operation("nowhere")
def combined(both: Both, into: Tensor, extra: tuple[Tensor, ...]) -> tuple[Pair, Tensor]:
    assert not any(x.is_cuda for x in (*both.pair, into, *extra))
    into.add_(both.pair.left * both.factor)
    doubled = combined_twin(both.pair.right)
    return Pair(doubled, sum(extra, torch.zeros_like(into))), into


@operation("nowhere")
def combined_twin(x: Tensor) -> Tensor:
    return 2 * x


def test_an_operation_of_ours_counts_one_and_its_changes_are_seen(counts: Counts) -> None:
    into, both = there(1.0, 1.0), Both(Pair(there(1.0, 2.0), there(3.0, 4.0)), 10.0)
    extra, found = (there(5.0, 5.0), there(1.0, 0.0)), list[Any]()
    assert cost(counts, lambda: found.extend(combined(both, into, extra))) == (1, 0, 0, 0)
    (doubled, summed), same = found
    assert same is into and isinstance(found[0], Pair)
    values = [x.tolist() for x in (doubled, summed, into)]
    assert values == [[6.0, 8.0], [6.0, 5.0], [11.0, 21.0]]


def test_an_operation_of_ours_refuses_operands_of_both_places(counts: Counts) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        combined(Both(Pair(there(1.0), torch.ones(1)), 1.0), there(1.0), ())
    assert combined_twin(torch.ones(1)).tolist() == [2.0]  # on the host it is none
    assert counts.operations == 0


def a_cell(model: str, attack: str, defense: str) -> CellConfig:
    ratio = 0.0 if attack == BASELINE else 0.1
    config = STUDY.cell_config(
        Cell(dataset="synthetic", model=model, attack=attack, defense=defense, ratio=ratio, seed=0)
    )
    few: dict[str, Any] = {
        "rounds": ROUNDS,
        "clients_per_round": 20,
        "evaluate_every": 2,
        "pool": 0.2,
    }
    return replace(config, protocol=replace(config.protocol, **few))


def as_deep_as_the_papers(config: CellConfig) -> CellConfig:
    """The same cell with as many blocks as the paper's SASRec; the small study's has fewer."""
    if not isinstance(config.model, SASRec):
        return config
    return replace(config, model=replace(config.model, blocks=SASRec().blocks))


METHODS = [
    *((attack, PLAIN) for attack in STUDY.attacks),
    *(("ClusterAttack", defense) for defense in STUDY.defenses if defense != PLAIN),
    (BASELINE, "NormBound+UNION"),
]
every_cell = pytest.mark.parametrize(
    ("model", "attack", "defense"),
    [(model, *methods) for model in ("MF", "SASRec", "NCF") for methods in METHODS],
)


def play(run: Simulation) -> list[Evaluation]:
    """The evaluations of what is left of a run."""
    while not run.over:
        run.play()
    return run.evaluations


@every_cell
def test_a_cell_is_played_as_on_the_cpu_and_goes_on(
    model: str, attack: str, defense: str, tmp_path: Path
) -> None:
    config = a_cell(model, attack, defense)
    expected = play(Simulation(config, SPLIT, "cpu"))
    with pretending():
        whole, rest = (Simulation(config, SPLIT, "cuda") for _ in range(2))
        whole.play()
        while not whole.can_be_saved:
            whole.play()
        save(tmp_path / "saved", whole.snapshot(), {})
        rest.restore(load(tmp_path / "saved", {}))
        found = play(whole)
        assert play(rest) == found
        assert_close(rest.snapshot().arrays, whole.snapshot().arrays, atol=0, rtol=0)
    assert [e.loss for e in found] == pytest.approx([e.loss for e in expected], rel=1e-5)


@every_cell
def test_a_round_is_made_of_few_operations(model: str, attack: str, defense: str) -> None:
    """The dearest of some rounds after the first few, in which what is made once is made."""
    plain = (attack, defense) == (BASELINE, PLAIN)
    operations, synchronisations = BOUNDS[f"{model}, plain" if plain else model]
    config = as_deep_as_the_papers(a_cell(model, attack, defense))
    with pretending() as counts:
        fed, _ = set_up(config, SPLIT, "cuda")
        costs = [cost(counts, partial(play_round, fed, number)) for number in range(1, 8)][4:]
    assert max(c[0] for c in costs) <= operations
    assert max(c[1] for c in costs) <= synchronisations


def test_a_case_is_counted_by_its_attacked_rounds() -> None:
    case = small_case("ClusterAttack").model_copy(update={"device": "pretend"})
    plain, attacked = count_case(small_case()), count_case(case)
    assert plain.rounds > 0 and attacked.rounds > 0
    assert attacked.operations > plain.operations > 0
    assert "ClusterAttack" in list(counted_lines([plain, attacked]))[2]


def test_counts_are_averaged() -> None:
    case = small_case()
    assert average(case, [Counts(2, 1, 1, 2_000_000), Counts(4, 0, 2, 0)]) == Counted(
        case=case, rounds=2, operations=3, synchronisations=0.5, copies=1.5, megabytes=1
    )
    assert average(case, []).operations == 0


def test_the_command_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = average(small_case(), [Counts(7, 1, 1, 1)])
    monkeypatch.setattr("fedrec.bench.counted.count_case", lambda case: counted)
    assert main(["bench", "--device", "pretend", "--output", str(tmp_path / "a.json")]) == 0
    assert "7.0" in capsys.readouterr().out
    assert Benchmark.read(tmp_path / "a.json").counted == [counted]


def test_the_command_does_not_count_and_time_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "pretend", "cpu"]) != 0
    assert "times nothing" in capsys.readouterr().err
