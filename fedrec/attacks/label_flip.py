"""LabelFlip: train on swapped labels (Tolpegin et al. 2020)."""

from pydantic import Field

from fedrec.attacks._poisoned_data import OwnRow, trained_on
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class LabelFlip:
    """Uploads honest gradients of flipped data: positive and negative are swapped in every pair.

    Only the targets are swapped. A sequence that a model reads as input is unchanged.
    """

    own_row: OwnRow = Field(
        default="poisoned",
        description="Train a malicious client's own parameters on its flipped pairs (first "
        "upload), or on its true pairs.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the gradients of each malicious client's flipped pairs."""
        batch = view.devices.pairs.batch(view.selected, streams).flipped()
        return trained_on(batch, view, streams, self.own_row)
