import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtc.core.levels import level_of
from dmtc.pseudo import LEVELS, predict_with_log_odds
from dmtc.pseudo.compression import decode, encode, zstd


@settings(max_examples=50, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 2**32 - 1), st.sampled_from([2, 700, LEVELS]))
def test_every_prediction_comes_back_exactly(size, seed, levels):
    rng = np.random.default_rng(seed)
    label, level = rng.integers(0, 256, size, np.uint8), rng.integers(0, levels, size).astype(np.uint16)
    for given_back, given_in in zip(decode(encode(label, level)), (label, level), strict=True):
        np.testing.assert_array_equal(given_back, given_in)
        assert given_back.dtype == given_in.dtype


def test_the_largest_differences_fit():
    level = (np.indices((6, 7)).sum(0) % 2 * (LEVELS - 1)).astype(np.uint16)
    for checkerboard in (level, level[:, 1:]):
        np.testing.assert_array_equal(
            decode(encode(np.zeros(checkerboard.shape, np.uint8), checkerboard))[1], checkerboard
        )


def test_predictions_of_a_network_are_small():
    """Logits of a coarse map, interpolated; the published code keeps eight bytes a pixel."""
    logits = torch.randn(1, 21, 3, 4, generator=torch.Generator().manual_seed(0)) * 6
    for size, mode in (((13, 16), "bicubic"), ((97, 121), "bilinear")):
        logits = torch.nn.functional.interpolate(logits, size, mode=mode, align_corners=True)
    label, log_odds = predict_with_log_odds(logits)
    content = encode(label[0].numpy().astype(np.uint8), level_of(log_odds)[0].numpy().astype(np.uint16))
    assert len(content) < 97 * 121 * 8 / 10


@pytest.mark.parametrize("place", range(0, 120, 7))
def test_damage_is_noticed(place):
    content = bytearray(encode(np.zeros((9, 9), np.uint8), np.arange(81).reshape(9, 9).astype(np.uint16) * 50))
    content[place % len(content)] ^= 0xFF
    with pytest.raises(ValueError, match=r"Zstandard|Compressed"):
        decode(bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        bytes(8),
        (2).to_bytes(4, "little") * 2 + bytes(11),
        (2).to_bytes(4, "little") * 2 + bytes([99] * 12),
    ],
)
def test_frames_of_something_else_are_refused(content):
    with pytest.raises(ValueError, match=r"buffer|reshape|no prediction"):
        decode(zstd.compress(content))
