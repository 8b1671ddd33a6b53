"""The backbones. Importing this package registers all of them in `BACKBONES`."""

from dmtc.models.backbones import resnet, timm_backbone, tiny, vit

__all__ = ["resnet", "timm_backbone", "tiny", "vit"]
