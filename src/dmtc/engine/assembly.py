"""The parts of a run, made from its config when they are first needed."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from dmtc.batches import OnError
from dmtc.config import Config, network_spec, without
from dmtc.data import DATASETS, Dataset
from dmtc.data.augment import Augment
from dmtc.data.cache import ImageCache
from dmtc.engine.terms import Term, build_terms, needs_embedding, terms_of_stage
from dmtc.errors import ConfigError
from dmtc.evaluation import Evaluation, build_evaluation
from dmtc.models import SegmentationModel, WeightsReport, build_model, load_weights
from dmtc.processes import Processes, joined
from dmtc.randomness import seed_of
from dmtc.schedule import Counts, Phase, build_plan, networks_of
from dmtc.settings import RunSettings, pick_device, pick_precision
from dmtc.splits import SPLITS, Split


class Assembly:
    """Everything that a config names, built once.

    Args:
        config: Resolved and checked, from `dmtc.config.settle`.
        split: The split of an earlier run, which then is not chosen anew.
    """

    def __init__(self, config: Config, split: Split | None = None) -> None:
        self.config = config
        self.run = RunSettings(**config["run"])
        self._split = split

    @cached_property
    def dataset(self) -> Dataset:
        """Images, masks and lists."""
        dataset = DATASETS.build(without(self.config["dataset"], "augment", "on_error"), "dataset")
        return dataset if self.image_cache is None else replace(dataset, decode_image=self.image_cache)

    @cached_property
    def image_cache(self) -> ImageCache | None:
        """Where decoded images are kept, if anywhere."""
        return None if self.run.image_cache is None else ImageCache(Path(self.run.image_cache))

    def cache_forecast(self) -> str | None:
        """What the images of this run take in the cache, if there is one; a `ConfigError` if that is too much."""
        if self.image_cache is None:
            return None
        unlabelled = self.split.unlabelled if any(phase.label_from for phase in self.plan) else ()
        ids = sorted({*self.dataset.val, *self.split.labelled, *unlabelled})
        return self.image_cache.forecast(self.dataset.images, ids)

    @cached_property
    def on_error(self) -> OnError:
        """What becomes of training images that cannot be used; runs from before there was a choice stopped."""
        return self.config["dataset"].get("on_error", "stop")

    @cached_property
    def augment(self) -> Augment:
        """How training crops are made."""
        return Augment(**self.config["dataset"]["augment"])

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

    @cached_property
    def plan(self) -> list[Phase]:
        """The phases in order."""
        labelled = {network: len(ids) for network, ids in self.split.subsets.items()}
        plan = build_plan(self.config["schedule"], Counts(labelled, len(self.split.unlabelled)))
        for phase in plan:
            terms_of_stage(self.terms, phase.stage)  # a phase without any loss is refused before the first one starts
        return plan

    @cached_property
    def terms(self) -> list[Term]:
        """The terms of the loss."""
        return build_terms(self.config["loss"])

    @cached_property
    def evaluation(self) -> Evaluation:
        """How validation images are scored."""
        if not self.config.get("evaluation"):
            raise ConfigError("evaluation: no protocol chosen; choose one, such as evaluation=original")
        return build_evaluation(self.config["evaluation"], "evaluation")

    @cached_property
    def networks(self) -> list[str]:
        """Letters of the networks that are trained."""
        return networks_of(self.plan)

    @cached_property
    def processes(self) -> Processes:
        """Those that carry the run out."""
        return joined()

    def refuse_processes(self) -> None:
        """See that there are not more processes than there is work for.

        Raises:
            ConfigError: There are.
        """
        size, networks = self.processes.size, len(self.networks)
        if self.run.parallel_students:
            if networks != size or size == 1:
                raise ConfigError(
                    "run.parallel_students=true needs as many processes as networks, and more than one (torchrun "
                    f"--nproc-per-node=2 run.py ...), but has {size} for {networks}"
                )
            return
        if self.run.sync_batchnorm and size > 1 and self.device.type != "cuda":
            raise ConfigError("run.sync_batchnorm=true needs CUDA devices: torch has it for no others")
        for phase in self.plan:
            images = phase.labelled_batch + phase.pseudo_batch
            if images < size:
                raise ConfigError(
                    f"{size} processes cannot share a batch of {images}: use fewer, or raise "
                    f"schedule.{phase.stage}.labelled_batch"
                )

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        return pick_device(self.run.device, self.processes)

    @cached_property
    def precision(self) -> torch.dtype:
        """Type of the forward pass."""
        return pick_precision(self.run.precision, self.device)

    def model_spec(self, network: str) -> Mapping[str, Any]:
        """What a network is built from."""
        return network_spec(self.config, network)[0]

    def model(self, network: str) -> SegmentationModel:
        """A network with fresh weights, which depend on the seed and its letter alone; still on the CPU."""
        spec, where = network_spec(self.config, network)
        return build_model(
            spec,
            num_classes=self.dataset.num_classes,
            projection=needs_embedding(self.terms),
            seed=seed_of(self.config["seed"], network, "weights"),
            where=where,
        )

    def try_starting_weights(self, network: str) -> None:
        """Build a network that is thrown away and load them: b's turn comes hours after a's, too late for a wrong name.

        Too late also for a head that does not go with its backbone.
        """
        self.load_starting_weights(self.model(network), network)

    def load_starting_weights(self, model: SegmentationModel, network: str) -> WeightsReport:
        """Load what `model.weights` names for a network, under the rule that `model.normalization` names."""
        spec: dict[str, dict[str, Any]] = self.config["model"]
        return load_weights(model, spec["weights"].get(network), spec["normalization"].get(network))
