"""The bytes of uploads, counted by hand, and their means over runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedrec.attacks.label_flip import LabelFlip
from fedrec.bench.pretend import pretending
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.federation import set_up
from fedrec.metrics.upload_sizes import UploadSizes, upload_bytes
from fedrec.metrics.uploads import LabelledUploads
from fedrec.training.run import run_cell
from fedrec.training.simulation import Simulation
from fedrec.updates import Updates
from tests.builders import make_record
from tests.defenses.views import client_view, uploads
from tests.training.test_resume import CELLS, SPLIT, a_cell, in_pieces

UPLOADS = replace(
    uploads([[[0.0] * 3] * 2] * 4),  # d = 3, and 2 items
    owner=torch.tensor([0, 2, 2, 3]),
    item=torch.tensor([1, 0, 1, 0]),
    value=torch.ones(4, 3),
    dense=torch.zeros(4, 5),
)


def test_the_bytes_of_an_upload_by_hand() -> None:
    """8 for the id and 12 for the numbers of a row; 20 for dense parameters; 8 for two numbers."""
    assert upload_bytes(UPLOADS).tolist() == [48, 28, 68, 48]


def test_noise_takes_all_rows_without_ids() -> None:
    view = client_view()
    noisy = FLWBC(scale=1e-2).on_clients(view.plain, view).updates
    n_items, d = noisy.table.shape
    full = 4 * n_items * d + 4 * noisy.dense.shape[1] + 8
    assert set(upload_bytes(noisy).tolist()) == {full}
    silent = replace(noisy, noise=(None, *noisy.noise[1:]))
    assert upload_bytes(silent).tolist() == [
        upload_bytes(replace(noisy, noise=()))[0],
        *[full] * (len(noisy) - 1),
    ]


def see(sizes: UploadSizes, received: Updates, *forged: int) -> None:
    n = len(received)
    everyone = torch.ones(n, dtype=torch.bool)
    labels = torch.isin(torch.arange(n), torch.tensor(forged, dtype=torch.int64))
    sizes.see(LabelledUploads(1, received, np.arange(n), labels, everyone, {}))


def test_means_are_over_all_uploads_of_one_kind() -> None:
    sizes = UploadSizes(counts=True)
    assert sizes.benign is None and sizes.malicious is None
    see(sizes, UPLOADS)
    assert (sizes.benign, sizes.malicious) == (48, None)
    see(sizes, UPLOADS, 2, 3)
    assert (sizes.benign, sizes.malicious) == ((48 + 28 + 68 + 48 + 48 + 28) / 6, (68 + 48) / 2)
    other = UploadSizes(counts=True)
    other.restore(sizes.state())
    assert (other.benign, other.malicious) == (sizes.benign, sizes.malicious)


def test_a_record_has_the_bytes_of_all_rounds() -> None:
    """A client's rows are fixed; LabelFlip uploads as many of them as an honest client."""
    config = replace(a_cell(), attack=LabelFlip())
    fed, _ = set_up(config, SPLIT, "cpu")
    totals = np.zeros((2, 2))  # uploads and bytes, of benign and malicious clients
    for number in range(1, config.protocol.rounds + 1):
        streams = fed.streams.at(number)
        cohort = fed.cohort(streams)
        rows = fed.devices.pairs.batch(torch.from_numpy(cohort), streams).row_owner
        each = 8 + np.bincount(rows.numpy(), minlength=len(cohort)) * (8 + 4 * config.model.dim)
        for which, mine in enumerate((~fed.is_malicious[cohort], fed.is_malicious[cohort])):
            totals[which] += mine.sum(), each[mine].sum()
    cost = run_cell(config, SPLIT, "cpu").cost
    assert cost.benign_upload_bytes == pytest.approx(totals[0, 1] / totals[0, 0])
    assert cost.malicious_upload_bytes == pytest.approx(totals[1, 1] / totals[1, 0])


def test_bytes_are_counted_over_interruptions(tmp_path: Path) -> None:
    whole = run_cell(CELLS["union"], SPLIT, "cpu").cost
    pieces, _ = in_pieces(CELLS["union"], tmp_path / "r.json", rounds=4)
    assert whole.benign_upload_bytes and whole.malicious_upload_bytes
    assert pieces.cost.benign_upload_bytes == whole.benign_upload_bytes
    assert pieces.cost.malicious_upload_bytes == whole.malicious_upload_bytes


def test_a_gpu_counts_nothing() -> None:
    """Counting would wait for the GPU, or keep the round from being recorded."""
    with pretending():
        run = Simulation(CELLS["lazy"], SPLIT, "cuda")
        run.play()
        assert not run.sizes.watches(2)
        assert run.sizes.benign is None and run.sizes.malicious is None


def test_a_record_without_bytes_is_what_it_was() -> None:
    record = make_record()
    assert set(record.model_dump()["cost"]) == {"seconds", "seconds_per_round", "peak_memory_mb"}
    counted = record.cost.model_copy(update={"benign_upload_bytes": 9.0})
    dumped = record.model_copy(update={"cost": counted}).model_dump()
    assert dumped["cost"]["benign_upload_bytes"] == 9.0
    assert "malicious_upload_bytes" not in dumped["cost"]
