"""The settings of one training job, with every field."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedrec.attacks.base import Attack
from fedrec.config.methods import KINDS, build, plug_ins
from fedrec.config.protocol import TrainingProtocol
from fedrec.defenses.base import Defense, DefensePart
from fedrec.errors import ConfigError
from fedrec.models.base import Model
from fedrec.plan.cells import Cell
from fedrec.records import DRAWS, config_hash
from fedrec.settings import written


@dataclasses.dataclass(frozen=True)
class CellConfig:
    """Everything that determines one training job, except its data."""

    cell: Cell
    protocol: TrainingProtocol
    model: Model
    attack: Attack[Any]
    defense: Defense
    values: Mapping[str, Any]  # all of the above, as records state it

    @staticmethod
    def parse(values: Mapping[str, Any]) -> "CellConfig":
        """Build the methods described by written values.

        Raises:
            ConfigError: the values are for other random draws, or for a method that no installed
                package offers.
        """
        if values.get("draws") != DRAWS:
            raise ConfigError(
                f"settings for other draws ({values.get('draws', 'unnamed')}) than this version's "
                f"({DRAWS}); write them again with `fedrec cell`"
            )
        packages = values.get("plug-ins", {})
        parts = [build("defenses", part, packages) for part in values["defense"]]
        protocol = TrainingProtocol(**values["protocol"])
        return CellConfig(
            cell=Cell.model_validate(values["cell"]),
            protocol=protocol,
            model=build("models", values["model"], packages),
            attack=build("attacks", values["attack"], packages),
            defense=Defense.compose(parts, in_turn=protocol.filters == "in_turn"),
            values=values,
        )

    @staticmethod
    def of(
        cell: Cell,
        protocol: TrainingProtocol,
        model: Model,
        attack: Attack[Any],
        defense: Sequence[DefensePart],
    ) -> "CellConfig":
        """Build the settings from given methods, whose classes need not belong to a package.

        Raises:
            ValueError: the parts of the defence cannot be combined.
        """
        groups: dict[str, list[Any]] = {
            "models": [model], "attacks": [attack], "defenses": [*defense],
        }  # fmt: skip
        stated = {g: [_written(g, method) for method in found] for g, found in groups.items()}
        kinds = {
            g: [v["kind"] for v in found if v["kind"] in KINDS[g]] for g, found in stated.items()
        }
        packages = plug_ins(kinds)
        values = {
            "cell": cell.model_dump(),
            "draws": DRAWS,
            "protocol": written(protocol),
            "model": stated["models"][0],
            "attack": stated["attacks"][0],
            "defense": stated["defenses"],
            **({"plug-ins": packages} if packages else {}),
        }
        composed = Defense.compose(defense, in_turn=protocol.filters == "in_turn")
        return CellConfig(cell, protocol, model, attack, composed, values)

    def to_json(self) -> str:
        """Return the values as JSON on one line, with sorted keys."""
        return json.dumps(self.values, sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the values."""
        return config_hash(self.values)


def _written(group: str, method: Any) -> dict[str, Any]:
    """Return a method's kind, or the path of its class, and its fields."""
    own = f"{type(method).__module__}:{type(method).__qualname__}"
    kind = next((kind for kind, known in KINDS[group].items() if known is type(method)), own)
    return {"kind": kind, **written(method)}
