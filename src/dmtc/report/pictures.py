"""Pictures of a run: image, truth, baseline, final prediction and its errors, side by side."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dmtc.data import Dataset
from dmtc.data.ids import file_name
from dmtc.evaluation import Predictor
from dmtc.types import IGNORE_INDEX, UInt8Array


def draw_pictures(
    dataset: Dataset, ids: list[str], baseline: Predictor, final: Predictor, device: torch.device, folder: Path
) -> list[Path]:
    """Write one PNG per image: image, truth, baseline, final, errors of the final prediction.

    Args:
        dataset: Where images, masks, names and colors come from.
        ids: The images.
        baseline: Prediction before the rounds.
        final: Prediction after them.
        device: Where the predictors run.
        folder: Where the files go.
    """
    # matplotlib takes a while to import: only runs that draw pay for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    folder.mkdir(parents=True, exist_ok=True)
    palette = color_table(dataset)
    paths = []
    for id in ids:
        sample = dataset.sample(id)
        image = torch.from_numpy(sample.image).permute(2, 0, 1)[None].to(device)
        before, after = _classes(baseline(image)), _classes(final(image))
        wrong = (after != sample.label) & (sample.label != IGNORE_INDEX)
        panels = [
            ("image", sample.image),
            ("truth", palette[sample.label]),
            ("baseline", palette[before]),
            ("final", palette[after]),
            (f"errors: {wrong.mean():.0%}", _errors(sample.image, wrong)),
        ]
        height, width = sample.label.shape
        figure = Figure(figsize=(15, 3 * height / width + 0.8), layout="constrained")
        for axis, (title, picture) in zip(figure.subplots(1, len(panels)), panels, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=11)
            axis.axis("off")
        legend = [Patch(color=tuple(palette[i] / 255), label=name) for i, name in enumerate(dataset.classes)]
        figure.legend(handles=legend, loc="outside lower center", ncols=min(len(legend), 11), fontsize=9, frameon=False)
        path = folder / f"{file_name(id)}.png"
        FigureCanvasAgg(figure).print_figure(path, dpi=80)
        paths.append(path)
    return paths


def color_table(dataset: Dataset) -> UInt8Array:
    """uint8 (256, 3): the color of every label value; ignored pixels are white."""
    table = np.full((256, 3), 255, np.uint8)
    table[: dataset.num_classes] = dataset.palette
    return table


def _classes(logits: Tensor) -> UInt8Array:
    return logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()


def _errors(image: UInt8Array, wrong: np.ndarray) -> UInt8Array:
    """The image in grey with its wrong pixels in red."""
    grey = np.repeat(image.mean(axis=2, keepdims=True) * 0.5 + 100, 3, axis=2).astype(np.uint8)
    grey[wrong] = (214, 39, 40)
    return grey
