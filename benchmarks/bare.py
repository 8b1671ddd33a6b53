"""Whole training by the library against the plain loop that a user would write: images per second on the CPU.

The plain loop has one batch in memory, forward pass, cross-entropy, backward pass and AdamW; for a method with a
teacher also as many passes without gradient as the method makes. The library reads, augments, mixes, labels and
logs besides; its checkpoints and scoring are not timed. Both train EfficientNet-Lite0 with a SegFormer head, from
random weights, in channels last.

python benchmarks/bare.py --threads 1 [--trained]
"""

import copy
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import arguments, keep_freed_memory, write_record
from omegaconf import DictConfig
from PIL import Image

import dmtc
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.machine.settings import multiplies_in_bfloat16
from dmtc.run.folder import RunFolder

BATCH, CROP, STEPS, IMAGES = 8, 160, 16, 48
SIZE = (208, 176)
"""Width and height of the pictures; a crop is capped at them."""
METHODS = {"supervised": 0, "fixmatch_ema": 4, "crescendo": 4, "unimatch_v2": 4}
"""Methods, and how many of a step's images their teacher sees."""
STUDENT = {"unimatch_v2": 12}
"""Images that pass forward and backward, where these are not the batch: UniMatch V2 shows the unlabelled ones twice."""
NETWORK = ["model=segformer", "model/backbone=timm", "model.backbone.arch=efficientnet_lite0", "model.channels=128"]
NETWORK += ["model.backbone.output_stride=32", "model.weights.a=null", "run.device=cpu", "schedule/optimizer=adamw"]
RUN = [f"schedule.limit_steps={STEPS}", "schedule.start.evaluations=1", "schedule.online.evaluations=1"]
RUN += ["run.report=false", "run.progress=off", f"schedule.start.labelled_batch={BATCH}", "split.ratio=1/2"]
RUN += [f"schedule.online.labelled_batch={BATCH // 2}", f"schedule.online.unlabelled_batch={BATCH // 2}"]


def main() -> None:
    """Measure every method in turns with its plain loop, on a frozen backbone."""
    given = arguments(__doc__, {"trained": "with a trained backbone, too"})
    keep_freed_memory()
    record: dict[str, Any] = {"rows": []}
    with tempfile.TemporaryDirectory() as place:
        root = write_pictures(Path(place) / "data")
        for precision in ["float32", *(["bfloat16"] if multiplies_in_bfloat16() else [])]:
            for tuning in ("frozen", *(["full"] if given.trained else [])):
                for method in METHODS:
                    options = [f"method={method}", f"run.precision={precision}", f"model/tuning={tuning}"]
                    row = measured(options, root, Path(place), given.repeats)
                    record["rows"].append({"method": method, "precision": precision, "tuning": tuning, **row})
                    print(json.dumps(record["rows"][-1]), flush=True)
    record["setting"] = {"network": "EfficientNet-Lite0, SegFormer head", "batch": BATCH, "crop": CROP}
    record["setting"] |= {"steps": STEPS, "threads": torch.get_num_threads()}
    write_record("bare", record, torch.device("cpu"))


def measured(options: list[str], root: Path, place: Path, repeats: int) -> dict[str, float]:
    """Images per second of both, and the library's over the plain loop's."""
    dataset = [f"dataset.root={root}", "dataset=folder", f"dataset.augment.crop=[{CROP},{CROP}]"]
    return beside(dmtc.compose([*dataset, *NETWORK, *RUN, *options]), place, repeats)


def beside(config: DictConfig, place: Path, repeats: int) -> dict[str, float]:
    """A run and its plain loop in turns."""
    method = config.method.name
    plain = PlainLoop(settle(config), METHODS[method], STUDENT.get(method, BATCH), place)
    plain()
    rates: dict[str, list[float]] = {"library": [], "bare": []}
    for number in range(repeats + 1):
        run = dmtc.train(config, tempfile.mkdtemp(dir=place))
        began = time.perf_counter()
        for _ in range(STEPS):
            plain()
        plain.finish()
        seconds = time.perf_counter() - began
        if number:  # the first turn of each warms up
            rates["library"].append(trained(run.folder.path))
            rates["bare"].append(STEPS * BATCH / seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = [ours / bare for ours, bare in zip(rates["library"], rates["bare"], strict=True)]
    return {f"{name}_images_per_s": value for name, value in medians.items()} | {"ratio": statistics.median(ratios)}


def trained(folder: Path) -> float:
    """Images of a batch per second of training, without scoring, as the run itself says."""
    (phase,) = json.loads((folder / "results.json").read_text())["phases"]
    return phase["train_images_per_s"]


class PlainLoop:
    """The plain loop, one step a call.

    Args:
        config: Of the run that it stands beside, for network and precision.
        taught: Images that a teacher sees in a step.
        student: Images that pass forward and backward.
        place: A folder for what a network needs.
    """

    def __init__(self, config: dict[str, Any], taught: int, student: int, place: Path) -> None:
        compiled = torch.compile if config["run"]["compile"] else lambda network: network
        components = Components(config | {"run": config["run"] | {"compile": False}})  # here the whole network is
        self.device, self.precision, self.taught = components.device, components.precision, taught
        model = Networks(components, RunFolder(place / "bare")).instance("a").train()
        teacher = copy.deepcopy(model).eval() if taught else None
        self.optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-6)
        self.model, self.teacher = compiled(model), compiled(teacher) if teacher else None
        crop = components.augment.crop  # which the size of the pictures caps
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (student, *crop, 3), generator=generator, dtype=torch.uint8)
        self.images = images.permute(0, 3, 1, 2).to(self.device)
        classes = components.dataset.num_classes
        self.labels = torch.randint(classes, (student, *crop), generator=generator).to(self.device)

    def __call__(self) -> None:
        """Take a step."""
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16)
        if self.teacher is not None:
            with torch.no_grad(), half:
                self.teacher(self.images[: self.taught]).softmax(dim=1).max(dim=1)
        with half:
            logits = self.model(self.images)
        F.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self) -> None:
        """Wait for what a GPU has yet to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def write_pictures(root: Path, size: tuple[int, int] = SIZE) -> Path:
    """JPEG pictures of smooth noise with masks of three classes, as `dataset=folder` reads them."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(IMAGES):
        small = Image.fromarray(rng.integers(0, 256, (26, 20, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BILINEAR).save(root / "images" / f"{number:02d}.jpg")
        mask = Image.fromarray(rng.integers(0, 3, (6, 5), dtype=np.uint8))
        mask.resize(size, Image.Resampling.NEAREST).save(root / "masks" / f"{number:02d}.png")
    (root / "classes.txt").write_text("one\ntwo\nthree\n")
    (root / "val.txt").write_text("00\n01\n")
    return root


if __name__ == "__main__":
    main()
