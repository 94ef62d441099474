"""One thread in each test process: tensors are tiny, and threads would only wait for each other."""

from collections.abc import Iterator

import pytest

from fedrec.kernels.threads import use_threads

use_threads(1)


@pytest.fixture
def one_thread_afterwards() -> Iterator[None]:
    """For a test that sets the number of threads."""
    yield
    use_threads(1)
