"""Labelling images with DeepLabV2/ResNet-101, against DMT's two passes; loader.py tells the bytes on disk.

python benchmarks/labelling.py --reference CHECKOUT_OF_DST-CBC
"""

import contextlib
import io
import tempfile
from pathlib import Path

import torch
from common import LENT, Contender, answer, apart, arguments, keep_freed_memory, write

from dmtc.batches import Loader
from dmtc.data.augment import Augment
from dmtc.models import build_model
from dmtc.pseudo import PseudoLabelStore, label_images
from published import SIZE, published_images, voc, write_voc

IMAGES, BATCH, CLASSES, RATIO, PADDED = 8, 4, 21, 0.2, (505, 505)


def main() -> None:
    """Measure both on the same images and weights; DMT as it is, and once more with our allocator setting."""
    given = arguments(__doc__, reference="checkout of voldemortX/DST-CBC")
    if given.contender:
        if given.contender != "DMT":
            keep_freed_memory()
        with tempfile.TemporaryDirectory() as folder:
            answer(contender(given.contender, given.reference, Path(folder)))
        return
    names = ["ours", *(["DMT", f"DMT{LENT}"] if given.reference else [])]
    measured, peaks = apart(names, given.repeats)
    setting = {"images": IMAGES, "size": SIZE, "batch": BATCH, "classes": CLASSES, "label_ratio": RATIO}
    write("labelling", setting, measured, peak_bytes=peaks)


def contender(name: str, reference: Path, folder: Path) -> Contender:
    """One of them, on images and weights that are the same for all."""
    root = folder / "VOC2012"
    ids = write_voc(root, IMAGES)
    model = build_model(
        {
            "name": "deeplabv2",
            "aspp_rates": [6, 12, 18, 24],
            "aspp_branches": 2,
            "embedding_channels": 1,
            "backbone": {"name": "resnet101", "output_stride": 8},
        },
        CLASSES,
        projection=False,
        seed=0,
    ).eval()
    return ours(root, ids, model, folder / "ours") if name == "ours" else published(reference, root, model)


def ours(root: Path, ids: list[str], model: torch.nn.Module, folder: Path) -> Contender:
    """One pass, and the thresholds of one label ratio."""
    augment = Augment(crop=[321, 321], scale=[0.5, 1.5], flip=0.5)
    loader = Loader(voc(root), augment, workers=0, device=torch.device("cpu"))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def work() -> None:
        store = PseudoLabelStore(folder)
        with torch.inference_mode():
            batches = ((list(b.ids), b.image) for b in loader.images(ids, BATCH, with_mask=False))
            label_images(model, batches, store, CLASSES)
        store.select(RATIO)

    return work


def published(checkout: Path, root: Path, model: torch.nn.Module) -> Contender:
    """DMT's function, on its own loader and its own network with our weights."""
    images = published_images(checkout, root, lambda t: [t.ZeroPad(size=PADDED)], labelled=False)
    from models.segmentation import segmentation  # pyright: ignore[reportMissingImports]  # of the checkout
    from utils.common import generate_class_balanced_pseudo_labels  # pyright: ignore[reportMissingImports]  # of the checkout

    from models import resnet  # pyright: ignore[reportMissingImports]  # of the checkout

    build = resnet.resnet101
    segmentation.resnet.resnet101 = lambda pretrained=False, **options: build(pretrained=False, **options)
    net = segmentation.deeplab_v2(num_classes=CLASSES)
    state = model.state_dict()
    net.load_state_dict({key: state[key.replace("classifier.0.", "classifier.")] for key in net.state_dict()})
    loader = torch.utils.data.DataLoader(images, batch_size=BATCH, shuffle=False)

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            generate_class_balanced_pseudo_labels(
                net=net,
                device=torch.device("cpu"),
                loader=loader,
                label_ratio=RATIO,
                num_classes=CLASSES,
                input_size=PADDED,
            )

    return work


if __name__ == "__main__":
    main()
