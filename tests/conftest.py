"""One thread in each test process: tensors are tiny, and threads would only wait for each other."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from fedrec.kernels.threads import use_threads

use_threads(1)


@pytest.fixture
def one_thread_afterwards() -> Iterator[None]:
    """For a test that sets the number of threads."""
    yield
    use_threads(1)


@pytest.fixture(params=["compiled", "tensors"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """The loop of the CPU, and what a GPU does."""
    from tests.elsewhere import by_tensors  # not before pytest checks types in what is imported

    with by_tensors() if request.param == "tensors" else nullcontext():
        yield
