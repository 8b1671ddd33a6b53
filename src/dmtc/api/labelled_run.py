"""A run and its pseudo-labels: what each phase learned from, how good that was, and what its student made of it."""

from pathlib import Path

from dmtc.api.pseudo_labels import PhasePseudoLabels
from dmtc.api.stored_run import StoredRun
from dmtc.core.errors import ConfigError, DataError
from dmtc.engine.components import Components
from dmtc.evaluation.disagreement import Disagreement, disagreement_of
from dmtc.evaluation.quality import PseudoLabelQuality, hold_against_truth
from dmtc.losses.terms import terms_of_stage
from dmtc.pseudo import PseudoLabel, PseudoLabelStore
from dmtc.run.folder import RunFolder
from dmtc.run.ranking import images_of
from dmtc.schedule import Phase


class LabelledRun(StoredRun):
    """Adds the pseudo-labels to what is read of a run's folder. Users see `dmtc.Run`.

    Args:
        folder: The run's folder.
        components: Its components; by default they are read from the folder.
    """

    def __init__(self, folder: RunFolder, components: Components | None = None) -> None:
        super().__init__(folder, components)
        self._intact: set[Path] = set()
        self._qualities: dict[tuple[Path, float], PseudoLabelQuality] = {}

    def pseudo_labels(self, phase: str, label_ratio: float | None = None) -> PhasePseudoLabels:
        """The pseudo-labels a phase learned from.

        Args:
            phase: For example "r1-a".
            label_ratio: Share of every class to keep, in (0, 1]; by default the phase's own.

        Raises:
            ConfigError: There is no such phase, or it learns from no pseudo-labels.
            DataError: The pseudo-labels do not exist yet, or are damaged.
        """
        of, store, ratio = self._labelling(phase, label_ratio)
        images = images_of(self.folder, of, self.split.unlabelled)
        return PhasePseudoLabels(self.dataset, images, store.select(ratio))

    def pseudo_label_quality(self, phase: str, label_ratio: float | None = None) -> PseudoLabelQuality:
        """The quality of a phase's pseudo-labels; reads every known mask once, and remembers what it found.

        Args:
            phase: For example "r1-a".
            label_ratio: Ratio for its `scores` and `images`; by default the phase's own. `.at(...)` evaluates any
                other ratio.

        Raises:
            ConfigError: See `pseudo_labels`.
            DataError: See `pseudo_labels`.
        """
        of, store, ratio = self._labelling(phase, label_ratio)
        key = store.folder, ratio
        if key not in self._qualities:
            images = images_of(self.folder, of, self.split.unlabelled)
            self._qualities[key] = hold_against_truth(store, ratio, images, self.dataset)
        return self._qualities[key]

    def student(self, phase: str, pseudo: PseudoLabel, trained: bool = False) -> Disagreement:
        """How a phase's student predicts a pseudo-labelled image.

        Args:
            phase: For example "r1-a".
            pseudo: From `pseudo_labels` of the phase. Weights apply to its kept pixels; at label ratio 1 that is all
                of them.
            trained: Use the student after the phase instead of before it. A phase that starts over has no other.

        Raises:
            ConfigError: See `pseudo_labels`.
            WeightsError: The student's weights are missing, because the run stopped earlier.
        """
        of, _, _ = self._labelling(phase)
        model = self.model(of.trainee, of.name if trained or of.init_from is None else of.init_from)
        terms = terms_of_stage(self._components.terms, of.stage)
        device = next(model.parameters()).device
        return disagreement_of(model, terms, pseudo.image, pseudo.label, pseudo.confidence, device)

    def _is_intact(self, store: PseudoLabelStore) -> bool:
        """Whether all files of a store are unchanged; checked by reading them once."""
        if store.folder not in self._intact and store.is_complete():
            self._intact.add(store.folder)
        return store.folder in self._intact

    def _labelling(self, phase: str, label_ratio: float | None = None) -> tuple[Phase, PseudoLabelStore, float]:
        """A phase that learns from pseudo-labels, its teacher's predictions, and the label ratio."""
        named = {p.name: p for p in self.plan}
        if phase not in named or named[phase].label_from is None:
            known = ", ".join(p.name for p in self.plan if p.label_from) or "none"
            raise ConfigError(f"no pseudo-labels for phase {phase!r}; phases with pseudo-labels: {known}")
        store = self.folder.store(str(named[phase].label_from))
        if store.is_finished() and not self._is_intact(store):
            raise DataError(f"{store.folder} is damaged: a file is missing, or another than was written; put it back")
        if not store.is_finished():
            raise DataError(f"phase {phase} has no pseudo-labels yet; resume with: {self.folder.resume_command}")
        ratio = label_ratio if label_ratio is not None else named[phase].label_ratio
        assert ratio is not None
        return named[phase], store, ratio
