"""The backbones. Importing this package registers every one of them in `BACKBONES`."""

from dmtc.models.backbones import resnet, timm_backbone, tiny, vit

__all__ = ["resnet", "timm_backbone", "tiny", "vit"]
