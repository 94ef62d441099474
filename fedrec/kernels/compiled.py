"""Where compiled loops can work."""

from torch import Tensor


def on_cpu(tensor: Tensor) -> bool:
    """Whether compiled loops can work on a tensor."""
    return tensor.device.type == "cpu"
