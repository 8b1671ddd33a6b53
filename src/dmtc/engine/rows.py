"""The rows of a step in this process, and the views of them that students learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmtc.batches.mixing import Mixer, NoMixing
from dmtc.batches.views import Views
from dmtc.core.types import Batch
from dmtc.engine.passes import Places
from dmtc.machine.processes import Processes

Draw = Callable[..., np.random.Generator]
"""Returns the generator of an address within the step, such as draw("color", 0, 3)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a step in this process, as the loader gives them: unlabelled, partner and labelled ones.

    Attributes:
        weak: Weak views of unlabelled images.
        extra: Their partners for mixing, if these are further crops; None without any.
        labelled: Labelled images.
        counts: Number of rows of each of the three in the whole batch, over all processes.
        places: Where this process's unlabelled and labelled rows are among those of the whole batch.
    """

    weak: Batch
    extra: Batch | None
    labelled: Batch
    counts: tuple[int, int, int]
    places: Places

    @classmethod
    def of(cls, batch: Batch, unlabelled: int, extra: int, total: int, processes: Processes) -> "Rows":
        """Divide a batch whose first rows are the unlabelled ones, followed by their partners."""
        weak, partners = (
            len(processes.places(count, start)) for count, start in ((unlabelled, 0), (extra, unlabelled))
        )
        labelled = total - unlabelled - extra
        own = [unlabelled + place for place in processes.places(labelled, unlabelled + extra)]
        return cls(
            batch.take(slice(weak)),
            batch.take(slice(weak, weak + partners)) if extra else None,
            batch.take(slice(weak + partners, None)),
            (unlabelled, extra, labelled),
            Places(processes.places(unlabelled), own, unlabelled, unlabelled + labelled),
        )


class ViewMaker:
    """Makes the strong views of a step.

    Every process draws for the whole batch and keeps its own rows, so results do not depend on their number.

    Args:
        views: Which views there are.
        mixer: Mixes the images.
        processes: Processes among which the batch is divided.
    """

    def __init__(self, views: Views, mixer: Mixer, processes: Processes) -> None:
        self._views, self._mixer, self._processes = views, mixer, processes

    def unmixed(self) -> "ViewMaker":
        """The same, but it mixes nothing."""
        return ViewMaker(self._views, NoMixing(), self._processes)

    def labelled(self, rows: Rows, draw: Draw) -> Batch:
        """The labelled images, colored if the views say so."""
        if not self._views.labelled:
            return rows.labelled
        places = self._processes.places(rows.counts[2], rows.counts[0] + rows.counts[1])
        return self._views.colored(rows.labelled, [draw("color", "labelled", place) for place in places])

    def strong(self, rows: Rows, weak: Batch, extra: Batch | None, draw: Draw) -> list[Batch]:
        """The strong views of the unlabelled images.

        Args:
            rows: All rows of the step.
            weak: Their unlabelled rows, labelled by the teacher.
            extra: The partners, labelled by the teacher.
            draw: For all draws.
        """
        weak = self._rescaled(weak, rows, "own", draw)
        extra = None if extra is None else self._rescaled(extra, rows, "extra", draw)
        return [self._strong(number, rows, weak, extra, draw) for number in range(self._views.strong)]

    def _strong(self, number: int, rows: Rows, weak: Batch, extra: Batch | None, draw: Draw) -> Batch:
        before = not self._views.color_after_mixing
        own = self._colored(weak, rows, number, "own", draw) if before else weak
        if extra is not None and before:
            extra = self._colored(extra, rows, number, "extra", draw)
        mixed = self._mixed(number, rows, own, extra, draw)
        return mixed if before else self._colored(mixed, rows, number, "own", draw)

    def _mixed(self, number: int, rows: Rows, own: Batch, extra: Batch | None, draw: Draw) -> Batch:
        labelled = rows.labelled if self._mixer.uses_labelled else None
        rng = draw("mixing", number)
        if self._processes.size == 1:
            return self._mixer.mix(own, extra, labelled, rng)
        unlabelled, partners, _ = rows.counts
        whole = self._mixer.mix(
            self._gathered(own, unlabelled, 0),
            None if extra is None else self._gathered(extra, partners, unlabelled),
            None if labelled is None else self._gathered(labelled, rows.counts[2], unlabelled + partners),
            rng,
        )
        return replace(whole.ordered(self._processes.places(unlabelled)), ids=own.ids)

    def _gathered(self, batch: Batch, count: int, start: int) -> Batch:
        """The rows of all processes; their ids are not needed."""
        named = replace(batch, ids=("",) * count)
        return named.map(lambda tensor: self._processes.gather_rows(tensor, start))

    def _colored(self, batch: Batch, rows: Rows, number: int, kind: str, draw: Draw) -> Batch:
        return self._views.colored(batch, [draw("color", kind, number, place) for place in self._places(rows, kind)])

    def _rescaled(self, batch: Batch, rows: Rows, kind: str, draw: Draw) -> Batch:
        rescale = self._views.rescale
        if rescale is None:
            return batch
        return rescale(batch, [draw("rescale", kind, place) for place in self._places(rows, kind)])

    def _places(self, rows: Rows, kind: str) -> Sequence[int]:
        unlabelled, partners, _ = rows.counts
        return self._processes.places(partners, unlabelled) if kind == "extra" else self._processes.places(unlabelled)
