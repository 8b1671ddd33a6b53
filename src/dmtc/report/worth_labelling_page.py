"""The files of `job=next`: a table as text, CSV and JSON, and a page of pictures."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmtc.core.command import command
from dmtc.core.errors import ConfigError
from dmtc.core.files import write_atomically
from dmtc.core.ownership import Manifest, require_folder
from dmtc.core.types import UInt8Array
from dmtc.engine.components import Components
from dmtc.engine.inputs import refuse_among_inputs
from dmtc.engine.networks import Networks
from dmtc.evaluation import build_evaluation
from dmtc.prediction import chosen_networks
from dmtc.report.page import page_of, picture
from dmtc.report.pictures import color_table, legend_of
from dmtc.report.tables import text_table
from dmtc.report.worth_labelling import Pick, candidates_of, doubt_of, pick
from dmtc.run.beginning import refuse_own_parts
from dmtc.run.folder import RunFolder
from dmtc.tracking.progress import Progress

PAGE, TABLE, RECORD = "next.html", "next.csv", "next.json"

_WIDTH = 320
"""Pixels of a panel."""

_CLASSES = 3
"""Classes that a row names."""


def write_next(
    components: Components,
    folder: RunFolder,
    output: Path,
    *,
    count: int,
    networks: str | None,
    checkpoint: str,
    evaluation: dict[str, Any],
) -> str:
    """Pick images to label next, write `next.csv`, `next.json` and `next.html`, and return the table as text.

    Args:
        components: The run's components.
        folder: The run's folder.
        output: The folder to write; it need not exist.
        count: Number of images.
        networks: Letters of the networks; None for all of the run.
        checkpoint: "last" or "best" weights.
        evaluation: As in `conf/evaluation`.

    Raises:
        ConfigError: An option is out of range, or the output holds other files of these names.
        DataError: There are no unlabelled images.
        WeightsError: The run does not have the weights yet.
    """
    letters = chosen_networks(networks, components.networks)
    if checkpoint not in ("last", "best"):
        raise ConfigError(f"job.checkpoint should be last or best, but is {checkpoint!r}")
    if count < 1:
        raise ConfigError(f"job.count should be 1 or more, but is {count}")
    protocol = build_evaluation(evaluation, "evaluation")
    require_folder(output, "output")
    refuse_own_parts(folder, output, "output")
    refuse_among_inputs(components, output, "output")
    manifest = Manifest(output, "next", "output")
    manifest.refuse_foreign([PAGE, TABLE, RECORD])
    last, models = {phase.trainee: phase.name for phase in components.plan}, Networks(components, folder)
    predictors = [protocol.of_pictures(models.predictor(models.after(last[letter], checkpoint))) for letter in letters]
    progress = Progress([], components.run.progress)
    try:
        candidates = candidates_of(components, predictors, progress)
    finally:
        progress.close()
    picks = pick(candidates, count)
    columns, rows = _rows(picks, components.dataset.classes)
    images = []
    for place, (one, row) in enumerate(zip(picks, rows, strict=True), start=1):
        image = components.dataset.image(one.candidate.id)
        doubt = doubt_of(predictors, torch.from_numpy(image).permute(2, 0, 1)[None].to(components.device))
        panels = [
            ("image", image, True),
            ("prediction", color_table(components.dataset)[doubt.label[0].cpu().numpy()], False),
            ("entropy", _gray(doubt.entropy[0]), True),
        ]
        if doubt.differs is not None:
            panels.append(("networks differ", _gray(doubt.differs[0].float()), False))
        shown = [(title, picture(panel, _WIDTH, is_photo)) for title, panel, is_photo in panels]
        images.append((f"{place}. {one.candidate.id}: {row[-1]}", shown))
    how = _how(len(letters) > 1)
    page = page_of(
        "next.html.jinja",
        {
            "title": f"{len(picks)} of {len(candidates)} unlabelled images to label next",
            "folder": str(folder.path),
            "how": how,
            "rows": (columns, rows),
            "legend": legend_of(components.dataset),
            "images": images,
            "footer": f"dmtc, {datetime.now():%Y-%m-%d %H:%M}. To update it: {command('job=next run=RUN_DIR')}",
        },
    )
    manifest.record([PAGE, TABLE, RECORD])
    write_atomically(output / TABLE, _csv(columns, rows))
    record = {"networks": letters, "checkpoint": checkpoint, "evaluation": evaluation, "how": how}
    record["images"] = [_json(one, components) for one in picks]
    write_atomically(output / RECORD, json.dumps(record, indent=2) + "\n")
    write_atomically(output / PAGE, page)
    return (
        f"{text_table([columns[1], columns[0], *columns[2:]], [[row[1], row[0], *row[2:]] for row in rows])}\n\n{how}"
    )


def _how(several: bool) -> str:
    if several:
        doubt = (
            "The doubt of a pixel is the mean of two values: the entropy of the networks' mean probabilities, divided"
            " by the logarithm of the number of classes, and 1 where the networks predict different classes, else 0."
        )
    else:
        doubt = (
            "The doubt of a pixel is the entropy of its probabilities, divided by the logarithm of the number of"
            " classes."
        )
    return (
        f"{doubt} Doubt is summed by predicted class and divided by the pixels of the image. Each pick is the image"
        " that adds the most to the sum over classes of the square root of the doubt picked so far: its gain."
    )


def _rows(picks: Sequence[Pick], classes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    several = any(one.candidate.disagreement is not None for one in picks)
    columns = ["place", "image", "gain", "entropy", *(["disagreement"] if several else []), "most doubt in"]
    rows = []
    for place, one in enumerate(picks, start=1):
        found = one.candidate
        order = np.argsort(-found.doubt, kind="stable")[:_CLASSES]
        rows.append(
            [
                str(place),
                found.id,
                f"{one.gain:.3f}",
                f"{100 * found.entropy:.1f}%",
                *([f"{100 * (found.disagreement or 0):.1f}%"] if several else []),
                ", ".join(str(classes[int(index)]) for index in order if found.doubt[index] > 0),
            ]
        )
    return columns, rows


def _json(one: Pick, components: Components) -> dict[str, Any]:
    found, dataset = one.candidate, components.dataset
    return {
        "image": found.id,
        "file": str(dataset.images[found.id]),
        "gain": one.gain,
        "entropy": found.entropy,
        "disagreement": found.disagreement,
        "doubt": dict(zip(dataset.classes, found.doubt.tolist(), strict=True)),
    }


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def _gray(values: torch.Tensor) -> UInt8Array:
    """Values (H, W) in [0, 1] as gray uint8 (H, W, 3); white is 1."""
    gray = (values * 255).round().to(torch.uint8).cpu().numpy()
    return np.repeat(gray[..., None], 3, axis=2)
