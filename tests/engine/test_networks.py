"""The networks of a run."""

from functools import partial

import pytest
import torch

import dmtc
from dmtc.engine.checks import settle
from dmtc.engine.components import Components
from dmtc.engine.networks import Networks
from dmtc.run.folder import RunFolder


# The compiler looks at the gradients of whatever it compiles on after plain Python, and says so.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_images_of_many_sizes_are_scored_without_compiling_again(small, tmp_path, monkeypatch):
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    networks = Networks(Components(settle(dmtc.compose([*small, "run.compile=true"]))), RunFolder(tmp_path))
    model = networks.instance("a").train()
    model.maps(torch.zeros(2, 3, 32, 32))
    trained = counter.frame_count
    assert trained
    predict = networks.predictor(model)
    for size in (32, 40, 48, 56):
        assert predict(torch.zeros(1, 3, size, 64)).shape[-2:] == (size, 64)
    assert counter.frame_count == trained
    model.train().maps(torch.zeros(2, 3, 32, 32))
    assert counter.frame_count == trained
