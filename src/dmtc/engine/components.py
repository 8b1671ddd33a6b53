"""The components of a run, built from its config on first use."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from dmtc.batches import OnError
from dmtc.batches.mixing import MIXERS, Mixer, NoMixing
from dmtc.batches.views import Views, build_views
from dmtc.config.schema import Config, without
from dmtc.core.class_counts import ClassCounts
from dmtc.core.randomness import seed_of
from dmtc.data import DATASETS, Dataset
from dmtc.data.augment import Augment
from dmtc.data.cache import ImageCache
from dmtc.data.sizes import typical_size
from dmtc.data.task import Task
from dmtc.engine.checks import settle_stored
from dmtc.engine.counting_classes import count_classes
from dmtc.engine.network_specs import network_spec, refuse_networks
from dmtc.engine.planning import checked_plan, labelled_only_notes, refuse_different_labels
from dmtc.evaluation import Evaluation, build_evaluation
from dmtc.losses.class_weights import LabelledClasses
from dmtc.losses.terms import Term, build_terms, needs_correlation, needs_embedding
from dmtc.machine.processes import Processes, current_processes
from dmtc.machine.settings import RunSettings, pick_device, pick_precision
from dmtc.models import SegmentationModel, WeightsReport, build_model, load_weights
from dmtc.pseudo.context import ImageContext
from dmtc.pseudo.teachers import TEACHERS, Teacher
from dmtc.run.folder import RunFolder
from dmtc.run.moved import relocated
from dmtc.run.origin import require_one_run, require_own_settings
from dmtc.run.same_data import require_same_data
from dmtc.schedule import Counts, Labellers, Phase
from dmtc.schedule.lengths import with_lengths
from dmtc.schedule.phase import networks_of
from dmtc.splits import SPLITS, Split


class Components:
    """Everything a config names, each built once.

    Args:
        config: Resolved and checked, from `dmtc.engine.checks.settle`.
        split: The split of an earlier run, used instead of choosing a new one.
        plan: The plan of an earlier run, used instead of building a new one.
        task: Classes and colors, in case the data set is not available.
        check_data: Called with the data set before its first use; for data that moved since the run began.
        keeps: Let a generated data set write its files where its settings say; otherwise nothing is left behind.
        class_counts: What an earlier run counted in the labelled masks, used instead of counting again.
    """

    def __init__(
        self,
        config: Config,
        split: Split | None = None,
        plan: list[Phase] | None = None,
        task: Task | None = None,
        check_data: Callable[[Dataset], None] | None = None,
        keeps: bool = True,
        class_counts: ClassCounts | None = None,
    ) -> None:
        self.config = config
        self.run = RunSettings(**config["run"])
        self._split = split
        self._plan = plan
        self._task = task
        self._check_data = check_data
        self._keeps = keeps
        self._class_counts = class_counts

    @classmethod
    def of(
        cls, folder: RunFolder, run: Mapping[str, Any] | None = None, places: Mapping[str, Any] | None = None
    ) -> "Components":
        """The components of an earlier run. Its networks can be built even if its data set was moved or deleted.

        Args:
            folder: The run's folder.
            run: Machine settings that replace the run's own.
            places: Where the data is now, by dotted key (see `dmtc.run.moved`). If its content differs from what the
                run began with, using the data set raises an error.

        Raises:
            ConfigError: A key in `places` is not a place, or the config was changed after the run started.
            DataError: A file of the run is missing or damaged, or its parts do not come from one run.
        """
        config = settle_stored(folder.read_config(), folder.config_path)
        split = folder.read_split()
        settings = require_own_settings(folder, config)
        if places:
            config = relocated(config, places)
        if run is not None:
            config = config | {"run": dict(run)}
        plan, task = (folder.read_plan(), folder.read_task()) if folder.has_plan() else (None, None)
        require_one_run(folder, plan or [], split, settings)
        check_data = partial(require_same_data, folder) if places else None
        return cls(config, split, plan, task, check_data, class_counts=folder.read_class_counts())

    @property
    def is_relocated(self) -> bool:
        """Whether the data set was given a new place."""
        return self._check_data is not None

    @cached_property
    def dataset(self) -> Dataset:
        """Images, masks and lists."""
        return self._dataset if self.image_cache is None else replace(self._dataset, decode_image=self.image_cache)

    @cached_property
    def _dataset(self) -> Dataset:
        dataset = DATASETS.build(
            without(self.config["dataset"], "augment", "on_error"),
            "dataset",
            open_test=self.run.test,
            keeps=self._keeps,
        )
        if self._check_data is not None:
            self._check_data(dataset)
        return dataset

    @cached_property
    def image_cache(self) -> ImageCache | None:
        """Cache of decoded images, if the run uses one."""
        folder = self.run.image_cache
        return None if folder is None else ImageCache(Path(folder), self._dataset.reader)

    @cached_property
    def on_error(self) -> OnError:
        """What to do about unusable training images."""
        return self.config["dataset"]["on_error"]

    @cached_property
    def augment(self) -> Augment:
        """How training crops are made, with the crop size fitted to the labelled images if `fit` is set."""
        augment = Augment(**self.config["dataset"]["augment"])
        return augment.fitted(typical_size(self.dataset, self.split.labelled) if augment.fit else None)

    @cached_property
    def split(self) -> Split:
        """Which training images are labelled."""
        dataset = self.dataset
        split = self._split or SPLITS.build(
            self.config["split"],
            "split",
            ids=dataset.masked,
            unmasked=dataset.unmasked,
            labels=dataset.mask,
        )
        split.check(dataset.train, dataset.masked)
        return split

    @property
    def split_as_stored(self) -> Split | None:
        """The split of an earlier run, not checked against a data set; None if none has been chosen yet."""
        return self._split

    @property
    def task(self) -> Task:
        """Classes and colors."""
        return self.dataset.task if self._task is None else self._task

    @property
    def schedule(self) -> dict[str, Any]:
        """The `schedule` part of the config, with lengths derived from the number of images."""
        return self._lengths[0]

    @property
    def choices(self) -> list[str]:
        """Settings derived from the data, one line each, with the reason."""
        notes = labelled_only_notes(self.schedule, self._counts, self._labellers, self.plan)
        given, fitted = Augment(**self.config["dataset"]["augment"]), self.augment
        height, width = fitted.crop
        crop = [f"dataset.augment.crop=[{height},{width}], as labelled images are usually not larger"]
        return [*self._lengths[1], *(crop if fitted.crop != given.crop else []), *notes]

    @cached_property
    def _lengths(self) -> tuple[dict[str, Any], list[str]]:
        return with_lengths(self.config["schedule"], len(self.split.labelled), len(self.split.unlabelled))

    def settle_by_data(self) -> None:
        """Write the settings derived from the data into the config, so a resumed run keeps them if the data changes."""
        dataset = self.config["dataset"] | dict(self.dataset.found)
        if dataset["augment"].get("fit"):
            dataset["augment"] = dataset["augment"] | {"crop": list(self.augment.crop), "fit": False}
        self.config = self.config | {"dataset": dataset, "schedule": self.schedule}

    @cached_property
    def plan(self) -> list[Phase]:
        """The phases in order."""
        if self._plan is not None:
            return self._plan
        plan = checked_plan(self.config, self.schedule, self._counts, self._labellers, self.terms)
        refuse_networks(self.config, networks_of(plan))
        refuse_different_labels(plan, self.split.subsets)
        return plan

    @property
    def _counts(self) -> Counts:
        return Counts({network: len(ids) for network, ids in self.split.subsets.items()}, len(self.split.unlabelled))

    @property
    def _labellers(self) -> Labellers:
        name, teacher = self.config["teacher"]["name"], self.teacher
        inside, snapshots = name if teacher.in_step else None, teacher.snapshots is not None
        return Labellers(inside, teacher.networks, snapshots, self.views.student_images)

    @cached_property
    def teacher(self) -> Teacher:
        """Who labels the unlabelled images."""
        return TEACHERS.build(self.config["teacher"], "teacher")

    @cached_property
    def context(self) -> ImageContext | None:
        """How the whole image decides about each pixel's label; counts the classes of the labelled images."""
        return self.teacher.image_context(self.classes.counts)

    @cached_property
    def mixer(self) -> Mixer:
        """How images are mixed in a step."""
        return MIXERS.build(self.config["mixing"], "mixing", num_classes=self.task.num_classes)

    @cached_property
    def views(self) -> Views:
        """What a step shows to the student; at least one strong view if images are mixed."""
        return build_views(self.config["views"], mixes=not isinstance(self.mixer, NoMixing))

    @cached_property
    def terms(self) -> list[Term]:
        """The terms of the loss."""
        return build_terms(self.config["loss"], self.classes)

    @cached_property
    def classes(self) -> LabelledClasses:
        """The classes and what the masks of the labelled images hold of them, counted when asked for."""
        return LabelledClasses(
            self.task.num_classes,
            lambda: count_classes(self.dataset, self.split.labelled, self.processes, self.on_error),
            self._class_counts,
        )

    @cached_property
    def evaluation(self) -> Evaluation:
        """How validation images are scored, checked against the classes."""
        evaluation = build_evaluation(self.config.get("evaluation") or {}, "evaluation")
        evaluation.check_metrics(self.task.classes)
        return evaluation

    @cached_property
    def networks(self) -> list[str]:
        """Letters of the trained networks."""
        return networks_of(self.plan)

    @cached_property
    def processes(self) -> Processes:
        """The processes of the run."""
        return current_processes()

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        return pick_device(self.run.device, self.processes)

    @cached_property
    def precision(self) -> torch.dtype:
        """Dtype of the forward pass."""
        return pick_precision(self.run.precision, self.device)

    def model_spec(self, network: str) -> Mapping[str, Any]:
        """The config a network is built from."""
        return network_spec(self.config, network)[0]

    def model(self, network: str) -> SegmentationModel:
        """A network on the CPU, with new weights that depend only on the seed and its letter."""
        spec, where = network_spec(self.config, network)
        return build_model(
            spec,
            num_classes=self.task.num_classes,
            projection=needs_embedding(self.terms),
            seed=seed_of(self.config["seed"], network, "weights"),
            where=where,
            correlation=needs_correlation(self.terms),
        )

    def load_starting_weights(self, model: SegmentationModel, network: str) -> WeightsReport:
        """Load the weights that `model.weights` names for a network, with its `model.normalization`."""
        spec: dict[str, dict[str, Any]] = self.config["model"]
        return load_weights(model, spec["weights"].get(network), spec["normalization"].get(network))
