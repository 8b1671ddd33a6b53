"""Starting weights from a download, any published file, or our own files, with a report of what matched.

Published files name the same tensors in many ways. Names are matched in exactly these ways: a common prefix is stripped
(`module.`, `student.encoder.`, ...), names are looked up in the whole model and in its backbone, dots and underscores
are equal, and the few common names of DeepLab heads are known.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from dmtc.core.errors import WeightsError
from dmtc.models.base import SegmentationModel
from dmtc.models.normalization import NORMALIZATIONS, caffe
from dmtc.models.weights.files import read_weights, sha256_of

log = logging.getLogger(__name__)

IMAGENET = "imagenet"
"""The source that means downloading a backbone's published weights, most of which come from ImageNet."""

_FROZEN = ", which the backbone keeps, as model/tuning=frozen; model/tuning=full trains it, too"
"""What to say of a backbone whose random weights do not learn."""

_HEADS = {
    "classifier.0.convs.": "classifier.convs.",  # DMT and DMTC
    "rep.representation.": "projection.",  # DMTC
    "layer5.conv2d_list.": "classifier.convs.",  # the PyTorch copy of DeepLab's own COCO weights
}
_FROM_CAFFE = "layer5.conv2d_list."
_DEEP_STEM = "conv1.0.weight"
"""A stem of three 3x3 convolutions (ResNet "v1c" or "s"), as in UniMatch, CPS and U2PL."""

_NORMALIZATION = "backbone.normalization."


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """Which tensors of a weight file were loaded. Names are the model's, except in `unexpected`.

    Attributes:
        source: "imagenet", a file, or None for random weights.
        sha256: Hash of the file in hexadecimal; None without a file. torchvision and timm verify their downloads.
        matched: Tensors that were loaded.
        missing: Tensors that the source lacks; they keep their random weights. Batch counters and the normalization
            are not listed, because foreign files do not contain them.
        unexpected: Names of the file's tensors that match nothing in the model.
        mismatched: Tensors whose shape differs, with both shapes; they keep their random weights.
        backbone_tensors: Number of tensors of the backbone.
        backbone_matched: Number of backbone tensors that were loaded.
        frozen: Whether the backbone keeps the random weights that it has without a source.
    """

    source: str | None
    sha256: str | None = None
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    backbone_tensors: int = 0
    backbone_matched: int = 0
    frozen: bool = False

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model was loaded."""
        return self.source is not None and not self.missing and not self.mismatched

    def summary(self) -> str:
        """Summarize in one line, for the log."""
        if self.source is None:
            return "fresh weights" + _FROZEN * self.frozen
        counts = f"{self.backbone_matched} of {self.backbone_tensors} backbone tensors matched"
        parts = [f"{Path(self.source).name}: {counts}"]
        for title in ("missing", "mismatched", "unexpected"):
            if names := getattr(self, title):
                parts.append(f"{title}: {_shortened(names)}")
        return "; ".join(parts)


def load_weights(model: SegmentationModel, source: str | None, normalization: str | None = None) -> WeightsReport:
    """Load starting weights into a network, in place.

    Args:
        model: A network from `build_model`.
        source: None keeps the random weights; "imagenet" downloads the backbone's weights; otherwise a file (see
            `read_weights`) of a backbone or a whole network. A file written by `save_weights` restores everything,
            including the normalization. The COCO weights of DeepLab v2 imply Caffe's normalization. Files that timm can
            convert also work: original weights of many architectures, and position embeddings for another image size.
        normalization: A name in `NORMALIZATIONS`, for weights that do not include theirs; None takes the one that comes
            with the weights, else the backbone's.

    Returns:
        What matched and what did not. Heads that do not match keep their random weights.

    Raises:
        WeightsError: The file is unusable, the download fails, or the file belongs to another architecture: less than
            half of the backbone's tensors match, or some have another shape.

    Examples:
        >>> from tempfile import mkdtemp
        >>> from dmtc.models import build_model, save_weights
        >>> head = {"name": "deeplabv2", "aspp_rates": [1], "aspp_branches": 1, "embedding_channels": 4}
        >>> spec = head | {"backbone": {"name": "tiny", "width": 8}}
        >>> model = build_model(spec, num_classes=2, projection=False, seed=0)
        >>> path = Path(mkdtemp()) / "mine.safetensors"
        >>> _ = save_weights(model, path)
        >>> load_weights(model, str(path)).summary()
        'mine.safetensors: 40 of 40 backbone tensors matched'
    """
    if normalization is not None:
        model.backbone.normalization.load_state_dict(NORMALIZATIONS[normalization]().state_dict())
    if source is None:
        return WeightsReport(None, frozen=model.tuning.freezes_backbone)
    found = _download(model) if source == IMAGENET else read_weights(source)
    report, assigned = _fit(model, source, found)
    if not _suits(report) and (converted := model.backbone.converted(found)) is not None:
        other, others = _fit(model, source, converted)
        if _suits(other):
            report, assigned, found = other, others, converted
    if 2 * report.backbone_matched < report.backbone_tensors:
        raise WeightsError(_misfit(report, found))
    if not _suits(report):
        raise WeightsError(_other_shapes(report, found))
    taken = {name: found[key] for name, key in assigned.items()}
    if normalization is not None:
        taken = {name: value for name, value in taken.items() if not name.startswith(_NORMALIZATION)}
    elif any(_FROM_CAFFE in key for key in found):
        taken |= {_NORMALIZATION + name: value for name, value in caffe().state_dict().items()}
    model.load_state_dict(taken, strict=False)
    return report


def _suits(report: WeightsReport) -> bool:
    """Whether the file fits the backbone: at least half of its tensors match, and none has another shape."""
    enough = 2 * report.backbone_matched >= report.backbone_tensors
    return enough and not any(name.startswith("backbone.") for name in report.mismatched)


def _fit(model: SegmentationModel, source: str, found: Mapping[str, Tensor]) -> tuple[WeightsReport, Mapping[str, str]]:
    """Report which tensors match; also return the file's names by the model's names."""
    state = model.state_dict()
    assigned, mismatched, unexpected = _assign(found, state, model.backbone.weights_root)
    expected = [name for name in state if not _is_bookkeeping(name)]
    report = WeightsReport(
        source=source,
        sha256=None if source == IMAGENET else sha256_of(source),
        matched=tuple(assigned),
        missing=tuple(name for name in expected if name not in assigned and name not in mismatched),
        unexpected=tuple(unexpected),
        mismatched=tuple(
            f"{name} {_shape(found[key])} instead of {_shape(state[name])}" for name, key in mismatched.items()
        ),
        backbone_tensors=sum(name.startswith("backbone.") for name in expected),
        backbone_matched=sum(name in assigned for name in expected if name.startswith("backbone.")),
    )
    return report, assigned


def _download(model: SegmentationModel) -> dict[str, Tensor]:
    advice = (
        "name files (model.weights.a=FILE model.weights.b=FILE)"
        " or start fresh (model.weights.a=null model.weights.b=null)"
    )
    architecture = getattr(model.backbone, "arch", type(model.backbone).__name__)
    _announce(architecture)
    try:
        with _without_retry_warnings():
            state = model.backbone.imagenet_state()
    # torchvision and timm download with several libraries, each with its own network errors.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].partition(". ")[0].rstrip(".")
        raise WeightsError(
            f"the ImageNet weights of {architecture} cannot be downloaded ({type(error).__name__}: {reason}); {advice}"
        ) from error
    if state is None:
        raise WeightsError(f"there are no ImageNet weights of {architecture}; {advice}")
    return state


@cache
def _announce(architecture: str) -> None:
    """Log once per architecture, because it may take a while: without a connection, libraries retry for a minute."""
    log.info("loading the ImageNet weights of %s, downloading them if necessary", architecture)


@contextmanager
def _without_retry_warnings() -> Iterator[None]:
    """Silence the download library's message about every attempt; we report a failure once."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _assign(
    found: Mapping[str, Tensor], state: Mapping[str, Tensor], weights_root: str
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Find the model's name of each tensor of a file.

    Returns:
        The file's names by the model's names, for equal shapes; the same for different shapes; the file's other names.
    """
    by_canonical_name = {_canonical(name): name for name in state}
    best: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for beginning in _beginnings(found):
        fitting: dict[str, str] = {}
        mismatched: dict[str, str] = {}
        for key in found:
            if not key.startswith(beginning):
                continue
            rest = _with_our_head(key.removeprefix(beginning))
            for candidate in (rest, f"backbone.{weights_root}{rest}"):
                name = by_canonical_name.get(_canonical(candidate))
                if name is not None:
                    agree = found[key].shape == state[name].shape
                    (fitting if agree else mismatched)[name] = key
                    break
        if len(fitting) > len(best[0]):
            best = (fitting, mismatched)
    fitting, mismatched = best
    used = {*fitting.values(), *mismatched.values()}
    return fitting, mismatched, [key for key in found if key not in used]


def _beginnings(names: Iterable[str]) -> list[str]:
    """Every dotted prefix of the names, up to three parts, the empty one first."""
    beginnings = {"": None}  # a dict, for its order
    for name in names:
        parts = name.split(".")[:-1]
        beginnings.update({".".join(parts[:n]) + ".": None for n in range(1, min(3, len(parts)) + 1)})
    return list(beginnings)


def _with_our_head(name: str) -> str:
    for theirs, ours in _HEADS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _canonical(name: str) -> str:
    # timm's feature extractors write `stages_0` for `stages.0` of the published file.
    return name.replace("_", ".")


def _is_bookkeeping(name: str) -> bool:
    return name.endswith("num_batches_tracked") or name.startswith(_NORMALIZATION)


def _misfit(report: WeightsReport, found: Mapping[str, Tensor]) -> str:
    file = "the download" if report.source == IMAGENET else report.source
    share = (
        f"only {report.backbone_matched} of {report.backbone_tensors} backbone tensors in {file} match the model"
        if report.backbone_matched
        else f"nothing in {file} matches the model's backbone"
    )
    ours = [name for name in (*report.missing, *report.mismatched) if name.startswith("backbone.")]
    return (
        f"{share}: the file starts with {_shortened(list(found))}; the backbone lacks {_shortened(ours)}; "
        "choose model/backbone to suit the file"
    )


def _other_shapes(report: WeightsReport, found: Mapping[str, Tensor]) -> str:
    differing = [text for text in report.mismatched if text.startswith("backbone.")]
    advice = "choose model/backbone to suit the file"
    if any(key.endswith(_DEEP_STEM) for key in found):
        advice = "its stem is three convolutions: use model/backbone=timm model.backbone.arch=resnet101s (or resnet50s)"
    return f"{report.source} belongs to another architecture: {_shortened(differing)}; {advice}"


def _shortened(names: Iterable[str], shown: int = 3) -> str:
    names = list(names)
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
