"""Views: which versions of its images a step shows to the student, and in which passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from dmtc.core.errors import ConfigError
from dmtc.core.registry import argument_faults, raise_faults
from dmtc.core.types import Batch
from dmtc.data.augment import COLORS, Color
from dmtc.data.augment.rescale import Rescale
from dmtc.models.perturbation import PERTURBATIONS, Perturbation

Shown = Literal["labelled", "weak", "perturbed", "unlabelled"]
"""Rows of a pass: labelled images; weak views of unlabelled ones; copies of the pass's other rows whose features are
perturbed; what is learned from unlabelled images: their strong views or, if there are none, the weak ones."""

_NESTED = {"color": COLORS, "perturbation": PERTURBATIONS}


@dataclass(frozen=True, kw_only=True)
class Views:
    """What a step shows to the student.

    A weak view is the crop that the loader gives; the teacher labels it. Strong views share its geometry: they are
    mixed, and colored with draws of their own.

    Attributes:
        strong: Number of strong views of every unlabelled image; 0: the student sees the weak view.
        color: Colors the strong views; None leaves them as they are.
        labelled: Whether the labelled images are colored, too.
        rescale: A second geometry of strong views, after labelling.
        color_after_mixing: Whether images are mixed before they are colored; otherwise pasted parts keep their color.
        perturbation: Changes features between backbone and head: of the "perturbed" copies if any pass has them,
            otherwise of the strong views.
        passes: The rows of every forward pass of the student, in order. Batch normalization sees a pass as one batch.
    """

    strong: int
    color: Color | None
    labelled: bool
    rescale: Rescale | None
    color_after_mixing: bool
    perturbation: Perturbation | None
    passes: list[list[str]]

    def __post_init__(self) -> None:
        faults = []
        if self.strong < 0:
            faults.append(f"views.strong should be at least 0, but is {self.strong}")
        if any(self.shows("perturbed") and names[0] == "perturbed" for names in self.passes):
            faults.append("views.passes: perturbed copies come after the rows that they are of")
        if self.shows("perturbed") and self.perturbation is None:
            faults.append("views.passes shows perturbed copies, but views.perturbation is null")
        if self.labelled and self.color is None:
            faults.append("views.labelled=true colors the labelled images, but views.color is null")
        raise_faults(faults + passes_faults(self.passes))

    def shows(self, what: Shown) -> bool:
        """Whether any pass has such rows."""
        return any(what in names for names in self.passes)

    def student_images(self, labelled: int, unlabelled: int) -> int:
        """Images that pass through the backbone, forward and backward, in a step."""
        count = {"labelled": labelled, "weak": unlabelled, "unlabelled": unlabelled * max(1, self.strong)}
        return sum(count.get(name, 0) for names in self.passes for name in names)

    def colored(self, batch: Batch, rngs: Sequence[np.random.Generator]) -> Batch:
        """The batch with its images colored, each by its own generator."""
        return batch if self.color is None else replace(batch, image=self.color(batch.image, rngs))


def passes_faults(passes: Any) -> list[str]:
    """Faults of `views.passes`, one sentence each."""
    known = get_args(Shown)
    fits = isinstance(passes, Sequence) and all(isinstance(names, Sequence) and names for names in passes)
    if not fits or not all(name in known for names in passes for name in names):
        return [f"views.passes should list the passes, each a list of {', '.join(known)}, but is {passes!r}"]
    shown = [name for names in passes for name in names]
    faults = [f"views.passes shows {name} twice" for name in known if shown.count(name) > 1]
    return faults + [f"views.passes shows no {name} rows" for name in ("labelled", "unlabelled") if name not in shown]


WEAK_VIEWS = Views(
    strong=0,
    color=None,
    labelled=False,
    rescale=None,
    color_after_mixing=False,
    perturbation=None,
    passes=[["unlabelled", "labelled"]],
)
"""The weak views alone, in one pass with the labelled images."""


def views_faults(spec: Mapping[str, Any]) -> list[str]:
    """All faults of the `views` part of a config, one sentence each."""
    faults = [] if isinstance(spec.get("name"), str) else [f"views.name should be a name, but is {spec.get('name')!r}"]
    nested = ("rescale", *_NESTED)  # checked by themselves
    plain = {key: None if key in nested else value for key, value in spec.items() if key != "name"}
    faults += argument_faults(Views, plain, "views")
    for key, registry in _NESTED.items():
        if spec.get(key) is not None:
            faults += registry.faults(spec[key], f"views.{key}")
    if spec.get("rescale") is not None:
        faults += argument_faults(Rescale, spec["rescale"], "views.rescale")
    if not faults:
        try:
            build_views(spec)
        except ConfigError as error:
            faults.append(str(error))
    return faults


def build_views(spec: Mapping[str, Any], mixes: bool = False) -> Views:
    """Build the `views` part of a config.

    Args:
        spec: The part.
        mixes: Whether images are mixed; then there is at least one strong view.

    Raises:
        ConfigError: It has faults.
    """
    parts: dict[str, Any] = {key: value for key, value in spec.items() if key != "name"}
    for key, registry in _NESTED.items():
        if parts.get(key) is not None:
            parts[key] = registry.build(parts[key], f"views.{key}")
    if parts.get("rescale") is not None:
        parts["rescale"] = Rescale(**parts["rescale"])
    if mixes:
        parts["strong"] = max(1, parts["strong"])
    return Views(**parts)
