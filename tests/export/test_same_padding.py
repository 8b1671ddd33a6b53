import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from dmtc.export.same_padding import HalvingConv, with_simple_padding


@pytest.mark.parametrize("size", [(1, 2), (4, 5), (7, 7), (8, 6), (33, 64)])
@pytest.mark.parametrize("kernel", [3, 5, (5, 3)])
@pytest.mark.parametrize("groups", [1, 4])
def test_it_is_the_same_padding_of_timm(size, kernel, groups):
    conv = Conv2dSame(4, 4, kernel, stride=2, groups=groups, bias=False)
    images = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(HalvingConv(conv)(images), conv(images))


def test_only_what_halves_is_replaced_and_only_in_a_copy():
    plain = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), Conv2dSame(3, 3, 2, stride=2), Conv2dSame(3, 3, 3, stride=3))
    assert with_simple_padding(plain) is plain
    halving = nn.Sequential(plain, nn.Sequential(Conv2dSame(3, 3, 3, stride=2)))
    replaced = with_simple_padding(halving)
    assert isinstance(halving[1][0], Conv2dSame)
    assert isinstance(replaced[1][0], HalvingConv)
    assert isinstance(replaced[0][1], Conv2dSame)
