"""A feature map read at full size without being upsampled in memory.

Bilinear interpolation is linear: a pixel's vector is a weighted mean of its four corner cells. So are its dot products
with other vectors, and a mean over many pixels is a weighted mean over the few cells. All queries are computed from the
cells; a full-size map of 150 channels would take half a gigabyte for an ordinary batch.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-8
"""Lower bound of the norm that a vector is divided by."""


class FullSizeView:
    """A map (B, D, h, w) read at (H, W) pixels by bilinear interpolation with aligned corners.

    Pixels are indices into the flattened (B, H, W), cells indices into the flattened (B, h, w).

    Args:
        features: (B, D, h, w), float32 or float64; `vectors` propagates gradient to them.
        size: (H, W) in pixels.

    Attributes:
        cells: (B h w, D), the map itself, one row per cell.
    """

    def __init__(self, features: Tensor, size: tuple[int, int]) -> None:
        batch, channels, height, width = features.shape
        self.shape = (batch, height, width)
        self.size = size
        self.cells = features.permute(0, 2, 3, 1).reshape(-1, channels)
        y, x = _Axis(height, size[0], features), _Axis(width, size[1], features)
        self._rows, self._columns = y.matrix(), x.matrix()
        self._corner = _corners(y.low, y.high, x.low, x.high, width)
        self._weight = torch.stack(
            [torch.outer(v, u).flatten() for v in (1 - y.fraction, y.fraction) for u in (1 - x.fraction, x.fraction)],
            dim=-1,
        )

    def corners(self, pixel: Tensor) -> tuple[Tensor, Tensor]:
        """The four cells around each pixel and their weights, which sum to 1.

        Args:
            pixel: int64, any shape.

        Returns:
            Cells, int64 (..., 4), and weights, (..., 4).
        """
        pixels_per_image, cells_per_image = self.size[0] * self.size[1], self.shape[1] * self.shape[2]
        image, place = pixel.div(pixels_per_image, rounding_mode="floor"), pixel % pixels_per_image
        # `embedding` looks up rows faster than indexing does.
        first_cell = (image * cells_per_image).unsqueeze(-1)
        return F.embedding(place, self._corner) + first_cell, F.embedding(place, self._weight)

    def vectors(self, pixel: Tensor) -> Tensor:
        """The vectors of pixels, (..., D), with gradient to the map."""
        corner, weight = self.corners(pixel)
        # The gradient of `embedding` is summed in a fixed order, unlike that of indexing: results are reproducible.
        return (F.embedding(corner, self.cells) * weight.unsqueeze(-1)).sum(-2)

    def cosines(self, vector: Tensor, pixel: Tensor) -> Tensor:
        """Dot products of each vector (Q, D) with the normalized vectors of its own pixels (Q, N).

        Returns:
            (Q, N), with gradient to the vectors only.
        """
        # With a million pixels, lookups dominate. `gather` is the fastest, and `embedding` for whole rows.
        corner = self._first_corner.gather(0, pixel.flatten()).unsqueeze(-1) + self._corner[0]
        weight = F.embedding(pixel, self._unit_weight)
        products = (vector @ self.cells.detach().T).gather(1, corner.view(len(vector), -1)).view_as(weight)
        return (products * weight).sum(-1)

    @cached_property
    def _first_corner(self) -> Tensor:
        """The first of the four cells around every pixel, int64 (B H W)."""
        batch, height, width = self.shape
        image = torch.arange(batch, device=self.cells.device) * (height * width)
        return (image[:, None] + self._corner[:, 0]).flatten()

    @cached_property
    def _unit_weight(self) -> Tensor:
        """The weights of the four cells around every pixel, divided by the norm of the pixel's vector, (B H W, 4)."""
        return self._weight.repeat(self.shape[0], 1) / self.norms().clamp(min=_EPSILON).unsqueeze(-1)

    @torch.no_grad()
    def norms(self) -> Tensor:
        """The norm of every pixel's vector, (B H W)."""
        batch, height, width = self.shape
        down, right = (torch.arange(n, device=self.cells.device) for n in (height, width))
        corner = _corners(down, (down + 1).clamp(max=height - 1), right, (right + 1).clamp(max=width - 1), width)
        # |sum of w_i c_i|^2 = sum of w_i w_j c_i.c_j, and all pixels within a cell share its 4 x 4 products.
        corner_vectors = self.cells.detach().view(batch, height * width, -1)[:, corner]
        products = (corner_vectors @ corner_vectors.mT).flatten(2)
        weights = (self._weight.unsqueeze(-1) * self._weight.unsqueeze(-2)).flatten(1)
        inside = self._corner[:, 0]
        squared = torch.stack([(image[inside] * weights).sum(-1) for image in products])
        return squared.clamp(min=0).sqrt().flatten()

    @torch.no_grad()
    def mean(self, mask: Tensor) -> Tensor:
        """The mean vector, (D), of the pixels where the bool mask (B, H, W) is true; 0 if it never is."""
        # The transpose of interpolation gives the total weight of each cell in the masked pixels.
        share = self._rows.T @ mask.to(self._rows.dtype) @ self._columns
        return (share.flatten() @ self.cells.detach()) / mask.sum().clamp(min=1)


class _Axis:
    """Interpolation along one axis: a pixel lies `fraction` of the way from cell `low` to cell `high`."""

    def __init__(self, cells: int, pixels: int, like: Tensor) -> None:
        steps = torch.arange(pixels, dtype=like.dtype, device=like.device)
        position = steps * ((cells - 1) / max(pixels - 1, 1))
        self.cells = cells
        # The last pixel lies on the last cell; that cell is `high`, so `high - low` is 1 everywhere.
        self.low = position.long().clamp(max=max(cells - 2, 0))
        self.high = (self.low + 1).clamp(max=cells - 1)
        self.fraction = position - self.low

    def matrix(self) -> Tensor:
        """The interpolation matrix (pixels, cells)."""
        cell = torch.arange(self.cells, device=self.low.device)
        low, high = (self.low[:, None] == cell), (self.high[:, None] == cell)
        return low * (1 - self.fraction)[:, None] + high * self.fraction[:, None]


def _corners(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, width: int) -> Tensor:
    """Cell indices (rows x columns, 4) in one image, from the rows above and below and the columns left and right."""
    return torch.stack([(y[:, None] * width + x).flatten() for y in (top, bottom) for x in (left, right)], dim=-1)
