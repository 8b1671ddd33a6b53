"""Regional contrast, forward and backward, against DMTC's loss and against ReCo's, both on maps at the crop's size.

python benchmarks/contrast.py --reference CHECKOUT_OF_DMTC --reco CHECKOUT_OF_RECO
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from common import LENT, Contender, answer, apart, arguments, keep_freed_memory, write
from published_dmtc import CHECKOUT, contrast_of_maps

from dmtc.losses import RegionalContrast, SharedContrast

SETTING = {
    **{"batch": 8, "channels": 150, "label": 321, "features": 41, "classes": 21},
    **{"queries": 256, "negatives": 512, "temperature": 0.5, "strong_threshold": 0.97},
}
OURS = {"ours": RegionalContrast, "ours, shared keys": SharedContrast}


def main() -> None:
    """Measure all; the published losses as they are, and once more with this library's allocator setting."""
    given = arguments(__doc__, reference=CHECKOUT, reco="checkout of lorenmt/reco")
    published: dict[str, Callable[[], Contender]] = {}
    if given.reference:
        published["DMTC"] = lambda: dmtc(given.reference)
    if given.reco:
        published["ReCo"] = lambda: reco(given.reco)
    if name := given.contender:
        if name in OURS or name.endswith(LENT):
            keep_freed_memory()
        answer(ours(OURS[name]) if name in OURS else published[name.removesuffix(LENT)]())
        return
    names = [*OURS, *published, *(name + LENT for name in published)]
    measured, peaks = apart(names, given.repeats)
    write("contrast", SETTING, measured, peak_bytes=peaks)


def maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embedding, logits and label of the setting; every class is present, a tenth of the pixels is ignored."""
    s = SETTING
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(s["batch"], s["channels"], s["features"], s["features"], generator=generator)
    logits = torch.randn(s["batch"], s["classes"], s["features"], s["features"], generator=generator)
    blocks = torch.randint(s["classes"], (s["batch"], 1, 8, 8), generator=generator)
    label = F.interpolate(blocks.float(), (s["label"], s["label"])).long()[:, 0]
    label[torch.rand(label.shape, generator=generator) < 0.1] = 255
    return embedding.requires_grad_(), logits, label


def ours(contrast: type[RegionalContrast]) -> Contender:
    """This library's loss."""
    keys = ("temperature", "queries", "negatives", "strong_threshold")
    loss = contrast(**{key: SETTING[key] for key in keys})
    embedding, logits, label = maps()
    return lambda: loss(embedding, logits, label, torch.Generator().manual_seed(1)).loss.backward()


def dmtc(checkout: Path) -> Contender:
    """DMTC's loss, with its own drawing of negatives; it takes ignored pixels for class 0."""
    s = SETTING
    options = {"strong_threshold": s["strong_threshold"], "temp": s["temperature"]}
    loss = contrast_of_maps(checkout, **options, num_queries=s["queries"], num_negatives=s["negatives"])
    embedding, logits, label = maps()
    return lambda: loss(embedding, logits, label).backward()


def reco(checkout: Path) -> Contender:
    """ReCo's loss, with ignored pixels left out by the mask that it takes."""
    spec = importlib.util.spec_from_file_location("reco_modules", checkout / "module_list.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    embedding, logits, label = maps()
    size = label.shape[-2:]

    def work() -> None:
        def full(x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(x, size, mode="bilinear", align_corners=True)

        one_hot = F.one_hot(label.clamp(max=SETTING["classes"] - 1), SETTING["classes"]).permute(0, 3, 1, 2)
        mask = (label != 255).unsqueeze(1)
        with torch.no_grad():
            probability = full(logits).softmax(dim=1)
        module.compute_reco_loss(
            full(embedding),
            one_hot,
            mask,
            probability,
            SETTING["strong_threshold"],
            SETTING["temperature"],
            SETTING["queries"],
            SETTING["negatives"],
        ).backward()

    return work


if __name__ == "__main__":
    main()
