"""Bringing the published code of DMTC in from a checkout that lies elsewhere: its contrastive loss, and its training.

That code needs Pillow 6 and would download weights; what it looks for is put in place, the rest is run as it is.
"""

import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor

CHECKOUT = "checkout of MohammadDehghan/DMTC"


def import_dmtc(checkout: Path, module: str) -> Any:
    """Import one of its modules."""
    PIL.PILLOW_VERSION = PIL.__version__  # type: ignore[attr-defined]
    PIL.Image.LINEAR = PIL.Image.BILINEAR  # type: ignore[attr-defined]
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return importlib.import_module(module)


def contrast_of_maps(checkout: Path, **options: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Its loss of an embedding and logits at low resolution and labels at full size, by the lines of its training loop.

    Args:
        checkout: Of its code.
        options: `strong_threshold`, `temp`, `num_queries` and `num_negatives`.
    """
    published = import_dmtc(checkout, "utils.module_list")

    def loss(embedding: Tensor, logits: Tensor, label: Tensor) -> Tensor:
        size = label.shape[-2:]
        full_embedding, full_logits = (
            torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
            for x in (embedding, logits)
        )
        with torch.no_grad():
            mask = (label.unsqueeze(1) >= 0).float()
            one_hot = published.label_onehot(label, logits.shape[1])
            probability = full_logits.softmax(dim=1)
        return published.contrastive_loss(full_embedding, one_hot, mask, probability, **options)

    return loss


class Training:
    """Its supervised training with contrast: its `train` function, one step a call, on a batch that is at hand.

    Args:
        checkout: Of its code.
        num_classes: Classes.
        image: Float (B, 3, H, W), normalized.
        label: int64 (B, H, W).
        options: `strong_threshold`, `temp`, `num_queries` and `num_negatives`.
    """

    def __init__(self, checkout: Path, num_classes: int, image: Tensor, label: Tensor, **options: Any) -> None:
        resnet = import_dmtc(checkout, "models.resnet")
        build = resnet.resnet101
        resnet.resnet101 = lambda pretrained=True, **more: build(pretrained=False, **more)
        self._train = import_dmtc(checkout, "train").train
        self._net = import_dmtc(checkout, "models.segmentation.segmentation").deeplab_v2_contrastive(num_classes)
        self._criterion = import_dmtc(checkout, "utils.losses").DynamicMutualLoss(ignore_index=255)
        self._optimizer = torch.optim.SGD(self._net.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
        self._rate = torch.optim.lr_scheduler.LambdaLR(self._optimizer, lambda step: (1 - step / 10**6) ** 0.9)
        self._batch, self._num_classes, self._options = (image, label), num_classes, options

    def step(self) -> None:
        """One step, without the messages."""
        size = self._batch[1].shape[-2:]
        with contextlib.redirect_stdout(io.StringIO()):
            self._train(
                exp_name="",
                writer=_Silent(),
                loader_c=_Once(self._batch),
                loader_sup=None,
                validation_loader=None,
                device=torch.device("cpu"),
                criterion=self._criterion,
                net=self._net,
                optimizer=self._optimizer,
                lr_scheduler=self._rate,
                num_epochs=1,
                is_mixed_precision=False,
                with_sup=False,
                num_classes=self._num_classes,
                categories=(),
                input_sizes=[size, size, size],
                sup_contrative=True,
                accum_iter=1,
                val_num_steps=10**9,
                **self._options,
            )


class _Once:
    """A loader of one batch that claims to have many, so that nothing is logged or validated."""

    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self._batch


class _Silent:
    """A writer that writes nothing."""

    def add_scalar(self, *arguments: object) -> None:
        pass


__all__ = ["CHECKOUT", "Training", "contrast_of_maps", "import_dmtc"]
