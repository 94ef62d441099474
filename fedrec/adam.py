"""What PyTorch's Adam remembers, as named tensors."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def adam_state(adam: torch.optim.Adam) -> dict[str, Tensor]:
    """Both moments and the step count of each parameter, as `<parameter>.<name>`; none at first."""
    states = adam.state_dict()["state"]
    return {f"{i}.{name}": value for i, state in states.items() for name, value in state.items()}


def restore_adam(adam: torch.optim.Adam, state: Mapping[str, Tensor]) -> None:
    """Have it remember what `adam_state` gave."""
    states: dict[int, dict[str, Any]] = defaultdict(dict)
    for key, value in state.items():
        parameter, name = key.split(".")
        states[int(parameter)][name] = value
    groups = adam.state_dict()["param_groups"]
    adam.load_state_dict({"state": states, "param_groups": groups})
