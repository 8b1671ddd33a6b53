"""Collecting the findings of all files of a data set."""

import dataclasses
import logging
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from tqdm.auto import tqdm

from dmtc.checking.examination import NO_VALID_PIXEL, Examined, Finding, Role, examine
from dmtc.core.errors import UserError
from dmtc.core.types import IGNORE_INDEX, Batch
from dmtc.data import Dataset
from dmtc.engine.components import Components
from dmtc.machine.cores import free_cores
from dmtc.splits import Split
from dmtc.tracking.progress import Display

SAME_PICTURE = "same image under several ids"
LEAK = "same image in training and validation"
TEST_LEAK = "same image in the test part and elsewhere"
UNSEEN_CLASS = "class missing from all labelled masks"
NOTHING_LABELLED = "no usable training images"
SETTINGS = "setting that does not fit the data"
NOTICE = "notice about the data set"
RANGE = "value range of the images"

_AT_ONCE = 1024
"""Images that wait for a thread."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of reading every file of a data set.

    Attributes:
        dataset: The data set.
        images: One entry per image, in the order of roles and ids.
        findings: Findings in the order of images, followed by those about no single file.
    """

    dataset: Dataset
    images: tuple[Examined, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that would stop training."""
        return tuple(finding for finding in self.findings if finding.stops)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that would not stop training."""
        return tuple(finding for finding in self.findings if not finding.stops)

    def of_role(self, role: Role) -> list[Examined]:
        """The images with a role."""
        return [image for image in self.images if image.role == role]


def check_data(components: Components) -> Check:
    """Read every image and every mask of a config's data set, in threads.

    Raises:
        UserError: There is no data set to read: a folder or a list is missing, or two files have one id.
    """
    with _notices() as messages:
        dataset = components.dataset
    general = [Finding(NOTICE, message, "unused", stops=False) for message in messages]
    split: Split | None = None
    try:
        split = components.split
        _ = components.plan, components.augment, components.evaluation
    except UserError as error:
        general.append(Finding(SETTINGS, str(error), "unused", stops=True))
    roles = _roles(dataset, split, components.run.test)
    images = tuple(_examine_all(dataset, roles, components.run.workers, components.run.progress))
    findings = [finding for image in images for finding in image.findings]
    if components.on_error == "skip":
        findings = [
            dataclasses.replace(finding, stops=finding.stops and finding.role == "validation") for finding in findings
        ]
    general += _nothing_to_learn(images, split)
    general += _same_pictures(images)
    general += _range_of_values(dataset, images)
    general += _unseen_classes(dataset, images)
    if not any(finding.kind == SETTINGS for finding in general):
        general += _misfits(components, images)
    return Check(dataset=dataset, images=images, findings=(*findings, *general))


def _roles(dataset: Dataset, split: Split | None, open_test: bool) -> dict[str, Role]:
    """The role of each image to read. Without a split, every training image with a mask counts as labelled."""
    labelled = set(dataset.masked if split is None else split.labelled)
    unlabelled = set(dataset.unmasked if split is None else split.unlabelled)
    roles: dict[str, Role] = {id: "labelled" for id in sorted(labelled)}
    roles |= {id: "unlabelled" for id in sorted(unlabelled)}
    roles |= {id: "validation" for id in dataset.val}
    roles |= {id: "test" for id in dataset.test} if open_test else {}
    for id in dataset.train:
        roles.setdefault(id, "unused")
    return roles


def _examine_all(
    dataset: Dataset, roles: Mapping[str, Role], workers: int | str, display: Display
) -> Iterator[Examined]:
    # Threads, as decoding releases the GIL: two read twice as fast as one, and nothing is copied between processes.
    threads = min(8, free_cores()) if workers == "auto" else max(1, int(workers))
    shown = display == "bars" or (display == "auto" and sys.stderr.isatty())
    with (
        warnings.catch_warnings(),
        tqdm(total=len(roles), desc="check", unit="image", disable=not shown, dynamic_ncols=True) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        warnings.simplefilter("ignore")  # Pillow's, about unusual headers; those that matter become findings
        try:
            rest = iter(roles.items())
            while some := list(islice(rest, _AT_ONCE)):  # all at once would keep a task in memory for each image
                for image in pool.map(lambda item: examine(dataset, *item), some):
                    bar.update()
                    yield image
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _nothing_to_learn(images: Sequence[Examined], split: Split | None) -> Iterator[Finding]:
    """Findings for networks without any usable labelled image, and for unlabelled images that are all unreadable."""
    unusable = {image.id for image in images if any(finding.stops for finding in image.findings)}
    ignored = {image.id for image in images if any(finding.kind == NO_VALID_PIXEL for finding in image.findings)}
    subsets = {} if split is None else split.subsets
    for network, ids in subsets.items():
        if not set(ids) - unusable - ignored:
            text = f"network {network}: each of its {len(ids)} labelled images is unusable or has no valid pixels"
            yield Finding(NOTHING_LABELLED, text, "labelled", stops=True)
    if split is not None and split.unlabelled and not set(split.unlabelled) - unusable:
        text = f"none of the {len(split.unlabelled)} unlabelled images can be read"
        yield Finding(NOTHING_LABELLED, text, "unlabelled", stops=True)


def _range_of_values(dataset: Dataset, images: Sequence[Examined]) -> Iterator[Finding]:
    """The value range of images that are not 8-bit, if the settings give none."""
    spans = [image.span for image in images if image.span is not None]
    if spans and dataset.reader.value_range is None:
        low, high = min(span[0] for span in spans), max(span[1] for span in spans)
        if low < high:
            text = f"{len(spans)} images have {low:.7g} to {high:.7g}: dataset.value_range=[{low:.7g},{high:.7g}]"
            yield Finding(RANGE, text, "unused", stops=False)


def _same_pictures(images: Sequence[Examined]) -> Iterator[Finding]:
    by_digest: dict[bytes, list[Examined]] = defaultdict(list)
    for image in images:
        if image.digest is not None and image.shape is not None:
            by_digest[image.digest].append(image)
    for same in by_digest.values():
        if len(same) > 1:
            sides = {image.role if image.role in ("validation", "test") else "training" for image in same}
            ids = ", ".join(f"{image.id} ({image.role})" for image in same)
            kind = SAME_PICTURE if len(sides) == 1 else TEST_LEAK if "test" in sides else LEAK
            yield Finding(kind, ids, same[0].role, stops=False)


def _unseen_classes(dataset: Dataset, images: Sequence[Examined]) -> Iterator[Finding]:
    labelled = [image.pixels for image in images if image.role == "labelled" and image.pixels is not None]
    seen = set[int]().union(*labelled)
    for index, name in enumerate(dataset.classes):
        if labelled and index not in seen:
            yield Finding(UNSEEN_CLASS, f"{index} {name}", "labelled", stops=False)


def _misfits(components: Components, images: Sequence[Examined]) -> Iterator[Finding]:
    """Findings for sizes of validation and test images that the protocol does not support."""
    first: dict[tuple[int, int], Examined] = {}
    for image in images:
        if image.role in ("validation", "test") and image.shape is not None:
            first.setdefault(image.shape, image)
    for (height, width), image in first.items():
        pixels = torch.zeros(1, 3, height, width, dtype=torch.uint8)
        label = torch.full((1, height, width), IGNORE_INDEX)
        try:
            components.evaluation.protocol.frame(
                Batch(pixels, label, torch.zeros(1), torch.zeros(1, dtype=torch.bool), (image.id,))
            )
        except UserError as error:
            yield Finding(SETTINGS, str(error), image.role, stops=True)


@contextmanager
def _notices() -> Iterator[list[str]]:
    """Collect the warnings of building the data set, to report them with the other findings."""
    messages: list[str] = []
    handler = _Keeper(messages.append)
    logger = logging.getLogger("dmtc.data")
    passed_on = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.propagate = passed_on
        logger.removeHandler(handler)


class _Keeper(logging.Handler):
    """Passes messages to a function."""

    def __init__(self, keep: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._keep = keep

    def emit(self, record: logging.LogRecord) -> None:
        self._keep(record.getMessage())
