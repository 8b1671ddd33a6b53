"""Adaptive average pooling for maps of any size, for which ONNX has no operator."""

from typing import Any

import torch
from torch import Tensor, nn

from dmtc.export.replacing import with_parts


class AveragingMatrices(nn.Module):
    """`nn.AdaptiveAvgPool2d` as products with two matrices computed from the map's size.

    The exporter decomposes adaptive pooling into indices that are valid only for the size of its example.

    Args:
        rows: Number of cells from top to bottom.
        columns: Number of cells from left to right.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, channels, rows, columns), equal to adaptive pooling up to rounding."""
        height, width = features.shape[-2:]
        vertical = _averaging(height, self.rows, features)
        horizontal = _averaging(width, self.columns, features)
        return torch.matmul(torch.matmul(vertical, features), horizontal.transpose(0, 1))


def with_averaging_matrices(module: nn.Module) -> nn.Module:
    """The module itself, or a copy with `AveragingMatrices` wherever it pools to several cells."""
    return with_parts(module, lambda part: AveragingMatrices(*_cells(part)) if _pools_to_cells(part) else None)


def _averaging(length: int, cells: int, like: Tensor) -> Tensor:
    """(cells, length): each row averages the pixels of a cell; neighboring cells may share pixels, as in PyTorch."""
    cell = torch.arange(cells, device=like.device)
    start = torch.div(cell * length, cells, rounding_mode="floor")
    end = torch.div((cell + 1) * length + cells - 1, cells, rounding_mode="floor")
    pixel = torch.arange(length, device=like.device)
    inside = (pixel >= start[:, None]) & (pixel < end[:, None])
    return inside.to(like.dtype) / (end - start)[:, None].to(like.dtype)


def _pools_to_cells(module: nn.Module) -> bool:
    """Whether a module is adaptive pooling to more than one cell; ONNX supports only one."""
    return isinstance(module, nn.AdaptiveAvgPool2d) and _cells(module) != (1, 1)


def _cells(module: nn.Module) -> tuple[int, int]:
    size: Any = module.output_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])
