"""Pictures of item embeddings: what they show, and that they are taken when asked for."""

from pathlib import Path

import pytest
import torch

from fedrec.cli.main import main
from fedrec.records import Pictures, read_pictures
from fedrec.training.pictures import principal

STUDY = """
protocol: { rounds: 4, clients_per_round: 10, evaluate_every: 2, pool: 0.2 }
seeds: [1, 0]
datasets:
  synthetic: { communities: { users: 60, items: 60, communities: 6, liked: 2, mean_length: 8 } }
  plain: { synthetic: { users: 60, items: 50, mean_length: 10 } }
models:
  MF: { kind: mf, dim: 8 }
attacks:
  NoAttack: { kind: no_attack }
  ClusterAttack: { kind: cluster_attack }
defenses:
  FedAvg: [{ kind: mean }]
figures:
  headline: &figure
    title: Curves
    kind: training_curves
    datasets: [synthetic]
    models: [MF]
    attacks: [NoAttack, ClusterAttack]
    ratios: [0.1]
  other: { <<: *figure, datasets: [plain] }
"""


def test_principal_components_by_hand() -> None:
    """Four corners of a rectangle, 6 by 2 and turned by a right angle, about (1, 1, 0)."""
    table = torch.tensor([[2.0, 4.0, 0.0], [0.0, 4.0, 0.0], [2.0, -2.0, 0.0], [0.0, -2.0, 0.0]])
    found = principal(table)
    assert found.abs().numpy() == pytest.approx(torch.tensor([[3.0, 1.0]] * 4).numpy())
    assert found.sum(0).tolist() == pytest.approx([0.0, 0.0])
    assert (found[:, 0] * (table[:, 1] - 1)).abs().tolist() == pytest.approx([9.0] * 4)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def run(study: Path, figure: str) -> int:
    output = study.with_name("pictures.json")
    command = ["pictures", figure, "--config", str(study), "--rounds", "2", "4"]
    return main([*command, "--device", "cpu", "--output", str(output)])


def test_each_run_of_the_first_seed_is_pictured_at_the_rounds_asked_for(study: Path) -> None:
    assert run(study, "headline") == 0
    made = read_pictures(study.with_name("pictures.json"))
    shots = [(p.attack, p.defense, p.round) for p in made.pictures]
    attacks = ("NoAttack", "ClusterAttack")
    assert shots == [(attack, "FedAvg", number) for attack in attacks for number in (2, 4)]
    assert (made.dataset, made.ratio) == ("synthetic", 0.1)
    for shot in made.pictures:
        assert len(shot.component_1) == len(shot.component_2) == len(made.community)
        spread = [max(map(abs, side)) for side in (shot.component_1, shot.component_2)]
        assert spread[1] > 0
        assert sum(shot.component_1) == pytest.approx(0, abs=0.02 * sum(map(abs, shot.component_1)))


def test_what_cannot_be_pictured_is_refused(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study, "headlin") == 1
    assert "no figure 'headlin'" in capsys.readouterr().err
    assert run(study, "other") == 1
    assert "synthetic communities" in capsys.readouterr().err


def test_a_damaged_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures.json").write_text('{"dataset": 1}')
    with pytest.raises(Exception, match=r"pictures\.json: dataset"):
        read_pictures(tmp_path / "pictures.json")


def test_the_kept_pictures_are_small_and_show_the_collapse() -> None:
    kept = Path(__file__).parents[2] / "results" / "published" / "pictures.json"
    assert kept.stat().st_size < 200_000
    made: Pictures = read_pictures(kept)
    reach = {(p.attack, p.defense, p.round): max(map(abs, p.component_1)) for p in made.pictures}
    for number in {p.round for p in made.pictures}:
        ruined = reach["ClusterAttack", "FedAvg", number]
        assert ruined < reach["NoAttack", "FedAvg", number]
        assert ruined < reach["ClusterAttack", "UNION", number]
