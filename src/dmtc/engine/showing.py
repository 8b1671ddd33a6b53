"""What a step shows to its students, and who labels it."""

from dataclasses import dataclass, field

from dmtc.batches.mixing import Mixer, NoMixing
from dmtc.batches.mixing.base import ExtraRows
from dmtc.batches.views import Views
from dmtc.pseudo.teachers import Stored, Teacher


@dataclass(frozen=True)
class Showing:
    """What a step shows to its students, and who labels it.

    Attributes:
        unlabelled: Unlabelled images in a whole batch, which come first in it; 0 for a batch that is not divided.
        teacher: Who labels them.
        share: Share of every class that is kept of a teacher's labels in the step; None keeps everything.
        views: Which views students see, in which passes.
        mixer: Mixes the images of strong views.
    """

    unlabelled: int = 0
    teacher: Teacher = field(default_factory=Stored)
    share: float | None = None
    views: Views = field(default_factory=Views)
    mixer: Mixer = field(default_factory=NoMixing)

    @property
    def extra_rows(self) -> ExtraRows | None:
        """Which further unlabelled images come with a batch, only to be pasted; as many as it has."""
        return self.mixer.extra_rows if self.unlabelled else None

    @property
    def extra(self) -> int:
        """How many they are."""
        return self.unlabelled if self.extra_rows else 0
