"""LabelFlip: train on swapped labels (Tolpegin et al. 2020)."""

from pydantic import Field

from fedrec.attacks._poisoned_data import OwnRow, trained_on
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class LabelFlip:
    """Uploads honest gradients of flipped data: in every pair, positive and negative swapped.

    The targets alone are swapped; a sequence that a model reads as input stays as it is.
    """

    own_row: OwnRow = Field(
        default="poisoned",
        description="A malicious client's own parameters follow its flipped pairs (first upload), "
        "or its true ones.",
    )

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The gradients of each malicious client's flipped pairs."""
        batch = view.devices.pairs.batch(view.selected, streams).flipped()
        return trained_on(batch, view, streams, self.own_row)
