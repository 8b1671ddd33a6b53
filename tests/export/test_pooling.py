import pytest
import torch
from torch import nn

from dmtc.export.pooling import AveragingMatrices, with_averaging_matrices


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (6, 6), (13, 8)])
@pytest.mark.parametrize("cells", [(1, 1), (2, 2), (3, 6)])
def test_it_is_adaptive_pooling(size, cells):
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(AveragingMatrices(*cells)(features), nn.AdaptiveAvgPool2d(cells)(features))


def test_only_what_pools_to_several_cells_is_replaced_and_only_in_a_copy():
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1))
    assert with_averaging_matrices(plain) is plain
    pyramid = nn.Sequential(plain, nn.Sequential(nn.AdaptiveAvgPool2d(3)), nn.AdaptiveAvgPool2d((2, 6)))
    replaced = with_averaging_matrices(pyramid)
    assert isinstance(pyramid[2], nn.AdaptiveAvgPool2d)
    assert isinstance(replaced[0][0], nn.AdaptiveAvgPool2d)
    assert (replaced[1][0].rows, replaced[1][0].columns) == (3, 3)
    assert (replaced[2].rows, replaced[2].columns) == (2, 6)
