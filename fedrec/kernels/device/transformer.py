"""The parts of a transformer between its matrix products, forward and backward.

The states of n clients have the shape (n, time, d). Layers read them *wide*: with a 1 after the d
coordinates. Then a layer's bias is a last row of its matrix, and one product adds it. A norm's
parameters are (n, 2, d): scale and shift.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import relu

from fedrec.kernels.device.operation import operation
from fedrec.kernels.dropout import Mask, dropped

NORM_EPS = 1e-8  # as in the layer normalisation of SASRec's original code

States = Float[Tensor, "n time d"]
Wide = Float[Tensor, "n time wide"]  # d + 1
Norm = Float[Tensor, "n 2 d"]
Weights = Float[Tensor, "n heads time time"]


def with_one(x: States) -> Wide:
    """Return states wide."""
    return torch.cat([x, torch.ones_like(x[:, :, :1])], 2)


@operation("norms")
def normed(x: Wide, own: Norm) -> Wide:
    """Normalise each state, then scale and shift it."""
    unit, _ = _standardised(x[:, :, :-1])
    return with_one(torch.addcmul(own[:, 1:], unit, own[:, :1]))


@operation("norms")
def add_normed(change: States, mask: Mask | None, base: Wide, own: Norm) -> tuple[Wide, Wide]:
    """Return x = dropout(change) + base, and x normalised."""
    x = with_one(dropped(change, mask) + base[:, :, :-1])
    return x, normed(x, own)


@operation("norms")
def norm_back(
    gradient: States, x: Wide, own: Norm, other: States | None, mask: Mask | None, to_own: Norm
) -> tuple[States, States]:
    """Return the gradient at x, and at what dropout made x from; `normed` was given x.

    `other` is x's gradient by another way, which is added to it. The gradient of the parameters
    is added to `to_own`.
    """
    unit, inverse = _standardised(x[:, :, :-1])
    to_own += torch.stack([(gradient * unit).sum(1), gradient.sum(1)], 1)
    scaled = gradient * own[:, :1]
    along = (scaled * unit).mean(2, keepdim=True) * unit
    to_x = (scaled - scaled.mean(2, keepdim=True) - along) * inverse
    to_x = to_x if other is None else to_x + other
    return to_x, dropped(to_x, mask)


def _standardised(x: States) -> tuple[States, Float[Tensor, "n time 1"]]:
    """Return states with mean 0 and variance 1, and 1 / their standard deviation before."""
    centred = x - x.mean(2, keepdim=True)
    inverse = (centred.square().mean(2, keepdim=True) + NORM_EPS).rsqrt()
    return centred * inverse, inverse


@operation("attention")
def attention_weights(scores: Weights, scale: float, mask: Mask | None) -> tuple[Weights, Weights]:
    """Return the softmax of scale · scores over no later places, without and with dropout."""
    later = scores.new_full(scores.shape[-2:], -torch.inf).triu_(1)
    weights = (scores * scale + later).softmax(-1)
    return weights, dropped(weights, mask)


@operation("attention")
def attention_back(gradient: Weights, weights: Weights, kept: Weights, scale: float) -> Weights:
    """Return the gradient of the scores; `kept` are the weights with dropout.

    Dropout multiplies weights and gradient by the same factors, so their products need no mask.
    """
    product = gradient * kept
    return (product - weights * product.sum(-1, keepdim=True)) * scale


@operation("relu")
def activated(x: Float[Tensor, "n time hidden"], mask: Mask | None) -> Wide:
    """Return dropout(max(x, 0))."""
    return with_one(dropped(relu(x), mask))


@operation("relu")
def activated_back(
    gradient: Float[Tensor, "n time hidden"], active: Wide, scale: float
) -> Float[Tensor, "n time hidden"]:
    """Return the gradient at x: zero where `activated` gave 0, else times the scale of dropout."""
    return (gradient * scale).where(active[:, :, :-1] > 0, 0)
