"""The model card of exported networks. Its figures come from results.json."""

from collections.abc import Mapping
from typing import Any

from dmtc.core.markup import in_markdown
from dmtc.models import network_title

_USE = {
    "onnx": """```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
images = np.zeros((1, 3, 480, 640), np.uint8)  # RGB, as it is; {sizes}
classes, confidence, *_ = session.run(None, {{"images": images}})  # uint8 and float32 (1, 480, 640)
```

The metadata of the file hold this description: `session.get_modelmeta().custom_metadata_map`.""",
    "torchscript": """```python
import torch

model = torch.jit.load("model.pt")
images = torch.zeros(1, 3, 480, 640, dtype=torch.uint8)  # RGB, as it is; {sizes}
with torch.inference_mode():
    classes, confidence, *_ = model(images)  # uint8 and float32 (1, 480, 640)
```

`torch.jit.load("model.pt", _extra_files=files)` with `files = {{"dmtc.json": ""}}` reads this description.""",
    "torch_export": """```python
import torch

program = torch.export.load("model.pt2")
images = torch.zeros(1, 3, 480, 640, dtype=torch.uint8)  # RGB, as it is; {sizes}
with torch.inference_mode():
    classes, confidence, *_ = program.module()(images)  # uint8 and float32 (1, 480, 640)
```

`torch.export.load("model.pt2", extra_files=files)` with `files = {{"dmtc.json": ""}}` reads this description.""",
    "safetensors": """```python
import dmtc

segmenter = dmtc.Segmenter.from_pretrained("FOLDER or USER/NAME")
mask = segmenter.predict(image)  # uint8 (H, W, 3) RGB in, uint8 (H, W) out
picture = segmenter.colored(mask)
seen = segmenter.prediction(image)  # .label .confidence .probabilities
```

`config.json` holds this description.""",
}


def model_card(
    description: Mapping[str, Any],
    format: str,
    size: tuple[int, int] | None = None,
    beside: Mapping[str, tuple[int, int] | None] | None = None,
) -> str:
    """The card as Markdown, with the metadata header for the Hugging Face Hub.

    Args:
        description: From `describe`.
        format: A name in `FORMATS`.
        size: Height and width of the images, if the file takes only one size.
        beside: Other formats of the same networks in the folder, with their `size`.
    """
    task = description["task"]
    names = [one["name"] for one in task["classes"]]
    known = {name: of for name, of in (beside or {}).items() if name in _USE}
    uses = [_USE[name].format(sizes=_sizes(of)) for name, of in {format: size, **known}.items()]
    networks = description["networks"]
    which = f"network {networks}" if len(networks) == 1 else f"the mean of networks {' and '.join(networks)}"
    parts = [
        _head(description),
        f"# {description['method']} on {task['dataset']}: {len(names)} classes",
        f"Semantic segmentation by {which}, {description['checkpoint']} weights{_average(description)}, trained with"
        f" dmtc {description['version']}.",
        "## Use\n\n" + "\n\n".join(uses),
        _input(description),
        "## Scores\n\n" + _scores(description),
        "## Classes\n\n" + _classes(description),
        "## How it was made\n\n" + _making(description),
        "## License\n\n" + _license(description),
    ]
    return "\n\n".join(parts) + "\n"


def _average(description: Mapping[str, Any]) -> str:
    return " (the moving average over the steps of training, which was scored)" if description.get("averaged") else ""


def _sizes(size: tuple[int, int] | None) -> str:
    return "any height and width" if size is None else f"height {size[0]} and width {size[1]} alone"


def headline(description: Mapping[str, Any]) -> tuple[float, str] | None:
    """The mIoU in [0, 1] of exactly these networks and weights, and what it belongs to; None if not in results.json."""
    results, networks, checkpoint = description["results"], description["networks"], description["checkpoint"]
    if results is None:
        return None
    if len(networks) == 1:
        of_network = results["miou"].get(networks)
        return None if of_network is None else (of_network[checkpoint], f"network {networks}")
    trained = "".join(sorted(key for key in results["miou"] if len(key) == 1 and results["miou"][key] is not None))
    value = results["miou"].get("ensemble")
    if checkpoint != "last" or value is None or networks != trained:
        return None
    return value, "the ensemble"


def _head(description: Mapping[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    score = headline(description)
    dataset = description["task"]["dataset"]
    evaluated = score and [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type="mean_iou",
            metric_value=score[0],
        )
    ]
    name = f"dmtc-{description['method']}-{dataset}"
    data = ModelCardData(
        license=description["license"],
        library_name="dmtc",
        pipeline_tag="image-segmentation",
        tags=["image-segmentation", "semantic-segmentation", "semi-supervised-learning"],
        model_name=name if evaluated else None,
        eval_results=evaluated or None,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def _input(description: Mapping[str, Any]) -> str:
    reduction = description["task"]["reduction"]
    shown = (
        f" Training read its images at 1/{reduction} of their height and width: shrink yours the same way."
        if reduction > 1
        else ""
    )
    rules = "; ".join(
        f"{letter}: mean {rule['mean']}, standard deviation {rule['std']}, channels {rule['channels']}"
        for letter, rule in description["normalization"].items()
    )
    return f"Images go in unchanged, as 8-bit RGB; the normalization is inside ({rules}, of values in [0, 1]).{shown}"


def _scores(description: Mapping[str, Any]) -> str:
    results = description["results"]
    if results is None:
        return "The run they come from is not finished: there are no scores."
    score = headline(description)
    protocol = results["evaluation"]
    options = ", ".join(f"{key} {value}" for key, value in protocol.items() if key != "name")
    by = f"the protocol {protocol['name']} ({options})"
    if score is None:
        return (
            f"The run has no score of exactly these networks and weights; its results under {by} are in the"
            " description."
        )
    chosen = (
        "" if description["checkpoint"] == "last" else f" These weights were chosen on {results['best_is_chosen_on']}."
    )
    return f"mIoU {100 * score[0]:.1f} % on the validation images, of {score[1]}, by {by}.{chosen}"


def _classes(description: Mapping[str, Any]) -> str:
    results = description["results"]
    iou = {} if results is None else results["per_class_iou"]
    whose = "" if results is None else f" of {results['per_class_iou_of']}, last weights"
    lines = [f"| value | class | color | IoU{whose} |", "|---|---|---|---|"]
    for value, one in enumerate(description["task"]["classes"]):
        of_class = iou.get(one["name"])
        text = "" if of_class is None else f"{100 * of_class:.1f} %"
        lines.append(f"| {value} | {in_markdown(one['name'])} | {', '.join(map(str, one['color']))} | {text} |")
    return "\n".join(lines)


def _making(description: Mapping[str, Any]) -> str:
    results = description["results"]
    recipe = description.get("recipe")
    lines = [f"- method: {description['method']}", *([f"- recipe: `experiment={recipe}`"] if recipe else [])]
    for letter, spec in description["models"].items():
        start = description["starting_weights"][letter]
        lines.append(f"- network {letter}: {network_title(spec)}, started from {_start(start)}")
    if results is not None:
        split = results["split"]
        lines += [
            f"- labelled images: {split['labelled']}, unlabelled images: {split['unlabelled']} (split {split['name']},"
            f" {split['ratio']}), seed {results['seed']}",
            f"- commit: {results['commit'] or 'not recorded'}",
        ]
    lines.append("- all settings: `config` of the description")
    return "\n".join(lines)


def _start(start: Mapping[str, Any]) -> str:
    if start["source"] == "fresh":
        return "fresh weights"
    digest = f" (SHA-256 {start['sha256']})" if start["sha256"] else ""
    return f"{start['source']}{digest}"


def _license(description: Mapping[str, Any]) -> str:
    chosen = description["license"] or "none was chosen"
    lines = [f"Of these weights: {chosen}.", ""]
    for letter, start in description["starting_weights"].items():
        if start["source"] != "fresh":
            known = start["license"] or "not recorded; see where they were published"
            lines.append(f"- network {letter} started from {start['source']}: {known}")
    lines.append(
        "- The images and labels of the data set have their own terms, which may extend to networks trained on them."
    )
    return "\n".join(lines)
