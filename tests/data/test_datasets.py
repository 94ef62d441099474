"""The field's datasets that `config/datasets.yaml` describes, on small files of the same form."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedrec.cli.main import main
from fedrec.config.study import Study
from fedrec.data.dataset import Dataset

ROOT = Path(__file__).parents[2]
FILE = ROOT / "config" / "datasets.yaml"
STUDY = Study.load(ROOT / "config" / "paper.yaml", FILE)
ADDED: dict[str, Any] = yaml.safe_load(FILE.read_text())["datasets"]

REVIEW = (
    '{{"overall": 5.0, "verified": true, "reviewTime": "01 1, 2018", "reviewerID": "A{0}", '
    '"asin": "{1}", "reviewerName": "X, \\"Y\\"", "unixReviewTime": {2}}}\n'
)
REVIEW_2023 = (
    '{{"rating": 5.0, "title": "t", "text": "a\\nb", "images": [], "asin": "B{1}", '
    '"parent_asin": "{1}", "user_id": "A{0}", "timestamp": {2}907, "verified_purchase": true}}\n'
)
YELP = (
    '{{"review_id": "r{2}", "user_id": "A{0}", "business_id": "{1}", "stars": 4.0, '
    '"date": "2018-07-07 22:09:{3:02d}", "text": "x"}}\n'
)
CHECK_IN = 'A{0}\t{1}\t4bf5\tCafé "X"\t40.7\t-74.0\t-240\tTue Apr 03 18:00:{3:02d} +0000 2012\n'

# How the publisher writes a line (user, item, seconds, place in time), and what stands above.
LINES = {
    "ml-100k": ("", "{0}\t{1}\t3\t{2}\n"),
    "ml-10m": ("", "{0}::{1}::5::{2}\n"),
    "ml-20m": ("userId,movieId,rating,timestamp\n", "{0},{1},3.5,{2}\n"),
    "ml-25m": ("userId,movieId,rating,timestamp\n", "{0},{1},3.5,{2}\n"),
    "ml-32m": ("userId,movieId,rating,timestamp\n", "{0},{1},3.5,{2}\n"),
    "recbole-ml-100k": (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n", "{0}\t{1}\t3\t{2}\n",
    ),
    "amazon-2018-beauty": ("", REVIEW),
    "amazon-2018-beauty-ratings": ("", "{1},A{0},5.0,{2}\n"),
    "amazon-2023-beauty": ("", REVIEW_2023),
    "amazon-2023-beauty-5core": ("user_id,parent_asin,rating,timestamp\n", "A{0},{1},5.0,{2}907\n"),
    "lastfm-hetrec": ("userID\tartistID\tweight\n", "{0}\t{1}\t13883\n"),
    "lastfm-360k": ("", "{0:040d}\tmbid\t{1}\t2137\n"),
    "lastfm-1k": ("", "user_{0:06d}\t2009-05-04T23:08:{3:02d}Z\tmbid\t{1}\t\tA \"Song\n"),
    "foursquare-nyc": ("", CHECK_IN),
    "foursquare-tokyo": ("", CHECK_IN),
    "steam": (
        "user_id:token\tproduct_id:token\tplay_hours:float\ttimestamp:float\n",
        "A{0}\t{1}\t1.5\t{2}.0\n",
    ),
    "yelp": ("", YELP),
}  # fmt: skip


def test_every_dataset_has_its_terms_citation_page_and_a_line_here() -> None:
    assert set(LINES) == set(ADDED)
    for entry in ADDED.values():
        assert {"path", "page", "terms", "citation"} <= set(entry["source"])


@pytest.mark.parametrize("name", LINES)
def test_a_file_of_the_publishers_form_is_read(tmp_path: Path, name: str) -> None:
    above, line = LINES[name]
    items = ["12", "7", "9"]
    timeless = STUDY.datasets[name].format.time is None  # type: ignore[union-attr]
    places = range(3) if timeless else reversed(range(3))
    path = tmp_path / Path(ADDED[name]["source"]["path"]).name
    text = above + "".join(
        line.format(user, items[i], 1_500_000_000 + i, i) for i in places for user in (1, 2)
    )
    if path.suffix == ".gz":
        import gzip

        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    dataset: Dataset = STUDY.datasets[name]
    log = dataset.read([path])
    assert log.n_users == 2
    assert log.item_labels[log.item].tolist() == items * 2


def test_a_study_uses_one_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of others need not be there; a file of its own says where this one lies."""
    mine = copy.deepcopy({"datasets": {"ml-100k": {"source": {"path": str(tmp_path / "u.data")}}}})
    block = {"title": "T", "kind": "datasets", "datasets": ["ml-100k"]}
    mine |= {"tables": {"table-2": block}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    configs = [str(ROOT / "config" / "paper.yaml"), str(FILE), str(tmp_path / "mine.yaml")]
    assert main(["check", "--config", *configs]) == 1
    assert "or get the file from https://grouplens.org" in capsys.readouterr().err
    (tmp_path / "u.data").write_text("1\t2\t3\t978300760\n")
    assert main(["check", "--config", *configs]) == 0
