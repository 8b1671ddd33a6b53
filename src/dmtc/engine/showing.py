"""What a step shows to its students, and who labels it."""

from dataclasses import dataclass

from dmtc.batches.mixing import Mixer, NoMixing
from dmtc.batches.mixing.base import ExtraRows
from dmtc.batches.views import WEAK_VIEWS, Views
from dmtc.pseudo.context import ImageContext
from dmtc.pseudo.teachers import STORED, Teacher

NO_MIXING = NoMixing()


@dataclass(frozen=True)
class Showing:
    """What a step shows to its students, and who labels it.

    Attributes:
        unlabelled: Unlabelled images in a whole batch, which come first in it; 0 for a batch that is not divided.
        teacher: Who labels them.
        share: Share of every class that is kept of a teacher's labels in the step; None keeps everything.
        views: Which views students see, in which passes.
        mixer: Mixes the images of strong views.
        context: How the whole image decides about each pixel's label; None: not at all.
    """

    unlabelled: int = 0
    teacher: Teacher = STORED
    share: float | None = None
    views: Views = WEAK_VIEWS
    mixer: Mixer = NO_MIXING
    context: ImageContext | None = None

    @property
    def extra_rows(self) -> ExtraRows | None:
        """Which further unlabelled images come with a batch, only to be pasted; as many as it has."""
        return self.mixer.extra_rows if self.unlabelled else None

    @property
    def extra(self) -> int:
        """How many they are."""
        return self.unlabelled if self.extra_rows else 0
