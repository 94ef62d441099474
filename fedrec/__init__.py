"""Untargeted poisoning of federated recommenders, and defences against it: ClusterAttack and UNION.

From Python:

    import fedrec
    from fedrec.attacks.cluster_attack import ClusterAttack

    data = fedrec.synthetic(users=400, items=300)
    short = fedrec.TrainingProtocol(rounds=200, evaluate_every=20)
    attacked = fedrec.describe(ClusterAttack(clusters=2), protocol=short, ratio=0.05)
    record = fedrec.simulate(attacked, data)
    fedrec.trajectory(record)
    fedrec.plot(record).save("curve.png")

Each name is imported when it is first used, so `import fedrec` is fast.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def _version(tree: Path = Path(__file__).parents[1]) -> str:
    """Return the installed version, or the version of a source tree that is not installed."""
    try:
        return version("fedrec")
    except PackageNotFoundError:
        return _version_of(tree / "pyproject.toml")


def _version_of(path: Path) -> str:
    """Return the version in the project's pyproject.toml."""
    import tomllib  # imported here, because an installed package does not need it

    project = tomllib.loads(path.read_text()).get("project", {}) if path.exists() else {}
    if project.get("name") != "fedrec":
        raise ImportError(
            f"fedrec is not installed, and {path} does not give its version: run `pip install .` "
            "in the source tree, or restore that file"
        )
    return str(project["version"])


__version__ = _version()

_PLACES = {
    "Plot": "fedrec.api",
    "Record": "fedrec.records",
    "Split": "fedrec.data.split",
    "Study": "fedrec.config.study",
    "TrainingProtocol": "fedrec.config.protocol",
    "UploadTrace": "fedrec.metrics.traces",
    "communities": "fedrec.api",
    "describe": "fedrec.api",
    "load_data": "fedrec.api",
    "plot": "fedrec.api",
    "read_record": "fedrec.records",
    "read_records": "fedrec.records",
    "read_trace": "fedrec.metrics.traces",
    "simulate": "fedrec.api",
    "synthetic": "fedrec.api",
    "trace_uploads": "fedrec.api",
    "trajectory": "fedrec.api",
}


def __getattr__(name: str) -> Any:
    """Import a name of the public interface at its first use; `__init__.pyi` lists all of them."""
    if name not in _PLACES:
        raise AttributeError(f"module 'fedrec' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return ["__version__", *_PLACES]
