"""The network computes what the published one computes, from the same weights under their published names."""

import numpy as np
import torch

from published import GOLDEN, published_model


@torch.inference_mode()
def test_logits_and_embedding_equal_the_published_ones() -> None:
    model = published_model().eval()
    golden = np.load(GOLDEN / "deeplabv2_forward.npz")
    maps = model.maps(torch.from_numpy(golden["image"]), embedding=True)
    assert maps.embedding is not None
    torch.testing.assert_close(maps.logits, torch.from_numpy(golden["out"]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(maps.embedding, torch.from_numpy(golden["rep"]), rtol=1e-4, atol=1e-4)
