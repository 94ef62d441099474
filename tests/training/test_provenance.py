"""What made a record: read where it can be, and never a reason to fail."""

import platform
from pathlib import Path
from typing import Any

import pytest
import torch

from fedrec.training import provenance as module
from fedrec.training.provenance import processor, provenance, system

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
model\t\t: 1
model name\t: AMD EPYC 7B13 64-Core Processor \nstepping\t: 1

processor\t: 1
model name\t: Another
"""


def test_linux_names_the_first_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    assert processor(tmp_path / "cpuinfo") == "AMD EPYC 7B13 64-Core Processor"


@pytest.mark.parametrize("listed", [None, "processor\t: 0\nCPU part\t: 0xd0c\n"])
@pytest.mark.parametrize(
    ("told", "family", "expected"),
    [
        ("Apple M2 Pro", "arm", "Apple M2 Pro"),
        (None, "Intel64 Family 6", "Intel64 Family 6"),
        (None, "", "aarch64"),
    ],
)
def test_elsewhere_it_is_what_the_system_tells(
    listed: str | None,
    told: str | None,
    family: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """macOS, which has no list; ARM, whose list names no model."""
    if listed:
        (tmp_path / "cpuinfo").write_text(listed)
    monkeypatch.setattr(module, "_output", lambda command: told)
    monkeypatch.setattr(platform, "processor", lambda: family)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert processor(tmp_path / "cpuinfo") == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (("Linux", "6.1.0-18-amd64", "x86_64", ("glibc", "2.36")), "Linux 6.1.0 x86_64 glibc 2.36"),
        (("Darwin", "23.4.0", "arm64", ("", "")), "Darwin 23.4.0 arm64"),
        (("", "", "", ("", "")), ""),
    ],
)
def test_the_system_is_named_without_its_distributors_build(
    told: tuple[Any, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("system", "release", "machine", "libc_ver"), told, strict=True):
        monkeypatch.setattr(platform, name, lambda value=value: value)
    assert system() == expected


def test_this_machine_is_named() -> None:
    found = provenance("cpu")
    assert found.processor == processor() and found.system == system()
    assert found.device == "cpu" and found.python == platform.python_version()


@pytest.mark.parametrize(
    ("told", "driver"),
    [("570.86.15\n570.86.15", "570.86.15"), ("570.86.15", "570.86.15"), (None, None)],
)
def test_a_gpu_is_named_with_its_driver_and_cuda(
    told: str | None, driver: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver of several cards is one; where it cannot be asked, the rest is told."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(module, "_output", lambda command, folder=None: told)
    found = provenance("cuda")
    assert (found.device, found.driver, found.cuda) == ("A card", driver, "12.8")


def test_a_cpus_provenance_has_no_word_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with a PyTorch that was built for them."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert not {"driver", "cuda"} & set(provenance("cpu").model_dump())


def test_a_command_that_is_not_there_says_nothing() -> None:
    assert module._output(["no-such-command"]) is None
    assert module._output(["false"]) is None
    assert module._output(["true"]) is None
