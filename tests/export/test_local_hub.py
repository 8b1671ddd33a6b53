"""Exports go to the Hugging Face Hub and come back by its real client, against a stand-in for the Hub."""

import numpy as np
import pytest
from huggingface_hub import ModelCard, constants

import dmtc
from dmtc.core.errors import DataError
from local_hub import LocalHub, serving

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serving() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        address = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield served


def test_what_is_pushed_is_loaded_again_and_its_page_says_how_it_was_made(
    command, finished, hub: LocalHub, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "secret")
    given = ("job=export", f"run={finished.folder.path}", "format=safetensors", "output=out", "job.push=me/city")
    code, out, err = command(*given, "job.license=mit", small_run=False)
    assert code == 0, out + err
    files = hub.files["me/city"]
    assert files.keys() == {"README.md", "config.json", "model.safetensors"}
    assert out.splitlines()[-1] == f"uploaded to {hub.address}/me/city/commit/{hub.revision('me/city')}"
    assert hub.private["me/city"] in (True, "private")
    assert hub.commits == ["Upload networks trained with dmtc"]
    assert hub.tokens == {"Bearer secret"}
    again = dmtc.Segmenter.from_pretrained("me/city")
    np.testing.assert_array_equal(again.predict(IMAGE), finished.predict(IMAGE))
    page = ModelCard(files["README.md"].decode())
    assert page.data.license == "mit"
    assert page.data.eval_results is not None
    assert page.data.eval_results[0].metric_value == finished.results["miou"]["ensemble"]


def test_what_the_hub_refuses_is_told_in_a_line(command, finished, hub: LocalHub):
    given = ("job=export", f"run={finished.folder.path}", "format=safetensors", "output=out", "job.push=refused/city")
    code, _, err = command(*given, small_run=False)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "the Hugging Face Hub says: 403" in line
    with pytest.raises(DataError, match=r"me/none: no such folder, and the Hugging Face Hub says: .*404"):
        dmtc.Segmenter.from_pretrained("me/none")
