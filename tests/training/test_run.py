"""Where a run takes place."""

import os

import pytest
import torch

from fedrec.training.run import choose_device


def test_jobs_take_turns_at_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for process in (10, 11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        assert choose_device("auto") == choose_device("cuda") == "cuda"
    assert chosen == [0, 0, 1, 1, 0, 0]
    assert choose_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(RuntimeError, match="PyTorch sees no GPU"):
        choose_device("cuda")
