"""The fast federation against the plain one: dense gradients, client after client, autograd."""

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.attacks.bit_flip import BitFlip
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.fed_attack import FedAttack
from fedrec.attacks.ipm import IPM
from fedrec.attacks.ipm_search import IPMSearch
from fedrec.attacks.label_flip import LabelFlip
from fedrec.attacks.mimic import Mimic
from fedrec.attacks.min_max import MinMax
from fedrec.attacks.min_sum import MinSum
from fedrec.attacks.no_attack import NoAttack
from fedrec.attacks.spattack_l import SpattackL
from fedrec.attacks.spattack_o import SpattackO
from fedrec.attacks.ua_fedrec import UAFedRec
from fedrec.config.cell_config import CellConfig
from fedrec.config.methods import KINDS
from fedrec.config.protocol import TrainingProtocol
from fedrec.defenses.base import Defense
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.bulyan import Bulyan
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dnc import DnC
from fedrec.defenses.dp_fedavg import DPFedAvg
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.fools_gold import FoolsGold
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.per_row import PerRow
from fedrec.defenses.pieck import PIECK
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.defenses.union import Union
from fedrec.federation import play_round, set_up
from fedrec.models.mf import MF
from fedrec.models.ncf import NCF
from fedrec.models.sas_rec import SASRec
from fedrec.plan.cells import Cell
from fedrec.reference.defenses import judge, mix, reduce, transform
from fedrec.reference.missing import NoPlainVersion
from fedrec.reference.simulation import Reference, task_loss
from tests.builders import tiny_split

SPLIT = tiny_split()
ROUNDS = 4
UNION = Union(sample=20, negatives=5)
KRUM = Krum(keep="n-f")
EXPONENTIAL = PIECK(begins=3, items_weight=3.0, user_weight=9.0, falling="exponentials")
SEQUENTIAL = SASRec(dim=8, hidden=6, heads=2, length=6)
CELLS: dict[str, Any] = {
    "fedavg": (MF(dim=8, l2=1e-3), NoAttack(), [Mean()]),
    "cluster attack": (MF(dim=8), ClusterAttack(), [Mean()]),
    "label flip": (MF(dim=8), LabelFlip(), [Mean()]),
    "fed attack": (MF(dim=8), FedAttack(), [Mean()]),
    "multi-krum and union": (MF(dim=8), ClusterAttack(), [UNION, KRUM, Mean()]),
    "filters in turn": (MF(dim=8), ClusterAttack(), [UNION, KRUM, Krum(keep="n-f"), Mean()], True),
    "norm bound and union": (MF(dim=8), ClusterAttack(), [UNION, NormBound(), Mean()]),
    "nnm and multi-krum": (MF(dim=8), ClusterAttack(), [NNM(), KRUM, Mean()]),
    "dp-fedavg": (MF(dim=8), ClusterAttack(), [DPFedAvg(bound=0.05)]),
    "pieck": (MF(dim=8), ClusterAttack(), [PIECK(begins=2, popular=3), Mean()]),
    "pieck, ncf": (NCF(dim=8, layers=(8, 4)), NoAttack(), [EXPONENTIAL, UNION, Mean()]),
    "pieck, sasrec": (SEQUENTIAL, NoAttack(), [PIECK(begins=2, popular=3), Mean()]),
    "ncf": (NCF(dim=8, layers=(8, 4), l2=1e-3), ClusterAttack(), [UNION, KRUM, Mean()]),
    "sasrec, a filter that draws": (SEQUENTIAL, ClusterAttack(), [DnC(sample=20), Mean()]),
    "sasrec": (SEQUENTIAL, NoAttack(), [Mean()]),
    "sasrec, all at once": (SEQUENTIAL, ClusterAttack(), [UNION, NormBound(bound=1.5), Mean()]),
}
REDUCTIONS: list[list[Any]] = [
    [TrimmedMean()],
    [CoordinateMedian()],
    [GeometricMedian(iterations=2)],
    [Bulyan()],
    [DnC(sample=20, iterations=2), Mean()],
    [FoolsGold()],
    [NNM(), CoordinateMedian()],
    [Bucketing(), GeometricMedian(weights="equal")],
    [CentredClipping(radius=0.05, iterations=2)],
    [KRUM, CentredClipping()],
]
CELLS |= {repr(parts): (MF(dim=8), ClusterAttack(), parts) for parts in REDUCTIONS}
ATTACKS = [IPM(), MinMax(), MinSum(), Mimic(), BitFlip(), SpattackO(), SpattackL(scale=0.1)]
CELLS |= {repr(attack): (MF(dim=8), attack, [Mean()]) for attack in ATTACKS}
CELLS["ua-fedrec"] = (NCF(dim=8, layers=(8, 4)), UAFedRec(), [Mean()])


def cell(model: Any, attack: Any, parts: list[Any], in_turn: bool = False) -> CellConfig:
    """20 of 60 clients a round, a tenth of them malicious."""
    ratio = 0.0 if isinstance(attack, NoAttack) else 0.1
    named = Cell(dataset="d", model="m", attack="a", defense="d", ratio=ratio, seed=0)
    protocol = TrainingProtocol(rounds=ROUNDS, clients_per_round=20, pool=0.2)
    return CellConfig(named, protocol, model, attack, Defense.compose(parts, in_turn), {})


def told_apart(model: Any, params: int) -> Tensor:
    """All dense parameters but the keys' biases, which softmax takes no notice of.

    Their gradients are rounding errors, and Adam makes steps of them.
    """
    shapes = getattr(model, "shapes", {})
    parts = [torch.full((prod(s),), not name.endswith("key.bias")) for name, s in shapes.items()]
    return torch.cat(parts) if parts else torch.ones(params, dtype=torch.bool)


@pytest.mark.parametrize("name", CELLS)
def test_the_federation_does_what_the_plain_one_does(name: str) -> None:
    fed, _ = set_up(cell(*CELLS[name]), SPLIT, "cpu")
    plain = Reference(set_up(cell(*CELLS[name]), SPLIT, "cpu")[0])
    start = plain.items.clone()
    for number in range(1, ROUNDS + 1):
        play_round(fed, number)
        plain.play_round(number)
    # Steps are of 1e-3 and more a round.
    assert_close(fed.server.shared.items, plain.items, atol=2e-5, rtol=1e-4)
    told = told_apart(fed.devices.model, len(plain.dense))
    assert_close(fed.server.shared.dense[told], plain.dense[told], atol=2e-5, rtol=1e-4)
    assert_close(fed.devices.local.detach(), plain.local, atol=2e-5, rtol=1e-4)
    assert (plain.items - start).abs().mean() > 1e-3


WITHOUT: dict[str, tuple[Any, list[Any]]] = {
    "FLWBC": (NoAttack(), [FLWBC(), Mean()]),
    "PerRow": (ClusterAttack(), [PerRow()]),
    "Union with these settings": (NoAttack(), [Union(distance="squared"), Mean()]),
    "IPMSearch with its knowledge of the aggregation rule": (IPMSearch(), [Mean()]),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_plain_version_says_so(name: str) -> None:
    fed, _ = set_up(cell(MF(dim=8), *WITHOUT[name]), SPLIT, "cpu")
    with pytest.raises(NoPlainVersion, match=f"no plain version of {name}: leave out --reference"):
        Reference(fed).play_round(1)


def test_every_defence_has_a_plain_version_or_is_known_to_have_none() -> None:
    missing = {NoAttack, FLWBC, PerRow}
    for part in KINDS["defenses"].values():
        roles = [
            role
            for role in (mix, judge, transform, reduce, task_loss)
            if role.dispatch(part) is not role.dispatch(object)
        ]
        assert roles or part in missing, part
