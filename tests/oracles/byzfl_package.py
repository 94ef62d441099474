"""The aggregators of the package byzfl, without the training framework beside them.

The package's own `__init__` imports that framework, and so torchvision, which is not installed:
a bare package of the same name takes its place.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def aggregators() -> ModuleType:
    """`byzfl.aggregators`: Average, TrMean, Krum, MultiKrum, Clipping and others."""
    if "byzfl" not in sys.modules:
        spec = find_spec("byzfl")
        if spec is None:
            raise ModuleNotFoundError("byzfl is not installed; run `make .venv/.installed`")
        bare = ModuleType("byzfl")
        bare.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["byzfl"] = bare
    return import_module("byzfl.aggregators")
