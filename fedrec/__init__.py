"""Untargeted poisoning of federated recommenders, and defences: ClusterAttack and UNION.

From Python:

    import fedrec
    from fedrec.attacks.cluster_attack import ClusterAttack

    data = fedrec.synthetic(users=400, items=300)
    short = fedrec.TrainingProtocol(rounds=200, evaluate_every=20)
    attacked = fedrec.describe(ClusterAttack(clusters=2), protocol=short, ratio=0.05)
    record = fedrec.simulate(attacked, data)
    fedrec.trajectory(record)
    fedrec.plot(record).save("curve.png")

Each name is imported when it is first used, so `import fedrec` takes no time.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("fedrec")

_PLACES = {
    "Plot": "fedrec.api",
    "Record": "fedrec.records",
    "Split": "fedrec.data.split",
    "Study": "fedrec.config.study",
    "TrainingProtocol": "fedrec.config.protocol",
    "describe": "fedrec.api",
    "load_data": "fedrec.api",
    "plot": "fedrec.api",
    "read_record": "fedrec.records",
    "read_records": "fedrec.records",
    "simulate": "fedrec.api",
    "synthetic": "fedrec.api",
    "trajectory": "fedrec.api",
}


def __getattr__(name: str) -> Any:
    """Import a name of the public surface when it is used; `__init__.pyi` says what it is."""
    if name not in _PLACES:
        raise AttributeError(f"module 'fedrec' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return ["__version__", *_PLACES]
