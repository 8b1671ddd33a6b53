"""Figures of a run's pseudo-labels for notebooks: `run.plot.laboratory()` and so on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmtc.api.labelled_run import LabelledRun
from dmtc.core.errors import ConfigError, DataError
from dmtc.evaluation.quality import PseudoLabelQuality
from dmtc.report.chart_style import drawn
from dmtc.report.pictures import color_table, panel_figure
from dmtc.report.runs import label_charts
from dmtc.report.runs.label_pictures import change_panels, label_panels, laboratory_panels
from dmtc.schedule import Phase

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LabelPlots:
    """The part of `Plots` that is about pseudo-labels.

    Args:
        run: The run, finished or not.
    """

    def __init__(self, run: LabelledRun) -> None:
        self._run = run

    def laboratory(self, phase: str | None = None, image: str | int = 0, label_ratio: float | None = None) -> "Figure":
        """One unlabelled image: what a phase's teacher says of it, what is kept, and what its student makes of it.

        Args:
            phase: Such as "r1-a"; by default the first with pseudo-labels.
            image: Id or number of an unlabelled image.
            label_ratio: Share of every class to keep, in (0, 1]; by default the phase's own.

        Raises:
            ConfigError: There is no such phase, or it learns from no pseudo-labels.
            DataError: There is no such image, or the pseudo-labels are damaged.
        """
        run = self._run
        name = self._labelled(phase)
        labels = run.pseudo_labels(name, label_ratio)
        number = labels.ids.index(image) if image in labels.ids else image
        if not isinstance(number, int) or not -len(labels) <= number < len(labels):
            raise DataError(f"no unlabelled image {image!r}; there are {len(labels)}, such as {labels.ids[0]!r}")
        pseudo = labels[number]
        # The student is asked about every pixel, whatever share is kept.
        student = run.student(name, run.pseudo_labels(name, 1.0).of(pseudo.id))
        return panel_figure(laboratory_panels(pseudo, student, color_table(run.dataset)), run.dataset)

    def pseudo_labels(self, phase: str | None = None, count: int = 4, label_ratio: float | None = None) -> "Figure":
        """Unlabelled images with what is kept of their pseudo-labels; those with the most wrong pixels first.

        Where no truth is known, the images are evenly spaced instead.

        Args:
            phase: Such as "r1-a"; by default the first with pseudo-labels.
            count: Number of images.
            label_ratio: Share of every class to keep, in (0, 1]; by default the phase's own.

        Raises:
            ConfigError: `count` is below 1, or see `laboratory`.
            DataError: See `laboratory`.
        """
        run, name = self._run, self._labelled(phase)
        labels = run.pseudo_labels(name, label_ratio)
        return panel_figure(
            [
                label_panels(labels.of(id), color_table(run.dataset))
                for id in self._worst(name, labels.ids, count, label_ratio)
            ],
            run.dataset,
        )

    def selection(self, phase: str | None = None, label_ratio: float | None = None) -> "Figure":
        """What a label ratio keeps of each class, from which confidence, and with which precision and recall.

        Args:
            phase: Such as "r1-a"; by default the first with pseudo-labels.
            label_ratio: Share of every class to keep, in (0, 1]; by default the phase's own.

        Raises:
            ConfigError: See `laboratory`.
            DataError: See `laboratory`.
        """
        of, quality = self._quality(phase)
        ratio = of.label_ratio if label_ratio is None else label_ratio
        assert ratio is not None and of.label_from is not None  # noqa: PT018
        teacher = next(one.trainee for one in self._run.plan if one.name == of.label_from)
        return drawn(label_charts.selection_charts(quality, self._run.task.classes, ratio, teacher), 4)

    def precision(self, phase: str | None = None) -> "Figure":
        """Precision of a phase's pseudo-labels, by class, at every label ratio.

        Args:
            phase: Such as "r1-a"; by default the first with pseudo-labels.

        Raises:
            ConfigError: See `laboratory`.
            DataError: See `laboratory`, or no truth is known.
        """
        of, quality = self._quality(phase)
        if not quality.images:
            raise DataError("no precision: there are no pseudo-labels whose truth is known")
        assert of.label_ratio is not None
        task = self._run.task
        return drawn([label_charts.precision_chart(quality, task.classes, task.palette, of.label_ratio)])

    def opinions(self, count: int = 12) -> "Figure":
        """Who is right where student and teacher disagree, in every phase with pseudo-labels.

        Below each phase stands its share of disagreements of that kind.

        Args:
            count: Number of images with known truth, evenly spaced over the unlabelled ones.

        Raises:
            ConfigError: `count` is below 1.
            DataError: There are no pseudo-labels whose truth is known.
            WeightsError: A student's weights are missing, because the run stopped earlier.
        """
        run, of_phases = self._run, {}
        for phase in (one.name for one in run.plan if one.label_from):
            labels = run.pseudo_labels(phase)
            known = [id for id in labels.ids if id in run.dataset.masks]
            chosen = [labels.of(id) for id in spaced(known, count)]
            if chosen:
                of_phases[phase] = sum(label_charts.opinions_of(each, run.student(phase, each)) for each in chosen)
        if not of_phases:
            raise DataError("no opinions: there are no pseudo-labels whose truth is known")
        return drawn(label_charts.opinion_charts(of_phases), 2)

    def changes(self, phase: str | None = None, count: int = 4) -> "Figure":
        """Pixels that a teacher labels otherwise than one round before: which did it fix, and which did it break?

        All its predictions are compared, whatever share is kept.

        Args:
            phase: Such as "r2-a"; by default the last with pseudo-labels.
            count: Number of images, those with the most wrong pixels first.

        Raises:
            ConfigError: `count` is below 1, or the phase has no pseudo-labels of a round before.
            DataError: See `laboratory`.
        """
        run, of = self._run, {one.name: one for one in self._run.plan if one.label_from}
        later = [name for name, one in of.items() if one.init_from in of]
        name = phase or (later[-1] if later else "")
        if name not in later:
            known = ", ".join(later) or "none"
            raise ConfigError(f"no labels of a round before phase {name!r}; phases with such labels: {known}")
        before = str(of[name].init_from)
        teachers = str(of[before].label_from), str(of[name].label_from)
        old, new = (run.pseudo_labels(one, 1.0) for one in (before, name))
        shared = [id for id in new.ids if id in set(old.ids)]
        palette = color_table(run.dataset)
        chosen = self._worst(name, shared, count, None)
        return panel_figure([change_panels(old.of(id), new.of(id), teachers, palette) for id in chosen], run.dataset)

    def _labelled(self, phase: str | None) -> str:
        return phase or next((one.name for one in self._run.plan if one.label_from), "")

    def _quality(self, phase: str | None) -> tuple[Phase, PseudoLabelQuality]:
        name = self._labelled(phase)
        quality = self._run.pseudo_label_quality(name)
        return next(one for one in self._run.plan if one.name == name), quality

    def _worst(self, phase: str, ids: Sequence[str], count: int, label_ratio: float | None) -> Sequence[str]:
        """Images with the most wrong pixels first; evenly spaced ones where no truth is known."""
        evenly = spaced(ids, count)
        quality = self._run.pseudo_label_quality(phase, label_ratio)
        worst = [image.id for image in quality.worst(len(quality.images)) if image.id in set(ids)]
        return worst[:count] or evenly


def spaced(ids: Sequence[str], count: int) -> list[str]:
    """Some of the images, evenly spaced."""
    if count < 1:
        raise ConfigError(f"count should be at least 1, but is {count}")
    count = min(count, len(ids))
    return [ids[row * len(ids) // count] for row in range(count)]
