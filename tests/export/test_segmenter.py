"""`dmtc.Segmenter`: networks without their run, and the layout of the Hugging Face Hub."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import dmtc
from dmtc.core.errors import ConfigError, DataError, UserError, WeightsError
from dmtc.engine.components import Components
from dmtc.export import ExportOptions, export_run

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "out"
    export_run(finished, "safetensors", folder, ExportOptions(license="mit"))
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the Hub: a folder of repositories on this machine. Returns what it was asked."""
    asked = []

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, *, repo_id, private, exist_ok):
            if repo_id.startswith("refused/"):
                raise PermissionError("403: you do not own this namespace\nmore")
            asked.append(("create", repo_id, private, exist_ok, self.token))
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
            asked.append(("upload", repo_id, revision, commit_message))
            shutil.copytree(folder_path, tmp_path / "hub" / repo_id)
            return f"hub://{repo_id}/commit/1"

    def snapshot_download(repo_id, *, revision, token, allow_patterns):
        asked.append(("download", repo_id, revision, token, sorted(allow_patterns)))
        if not (tmp_path / "hub" / repo_id).is_dir():
            raise LookupError("404: no such repository\nmore")
        return str(tmp_path / "hub" / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_it_predicts_what_the_run_predicts_and_needs_no_run(folder, finished, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "taken")
    monkeypatch.setattr(Components, "__init__", lambda *_, **__: pytest.fail("there is no run"))
    segmenter = dmtc.Segmenter.from_pretrained(tmp_path / "taken")
    assert segmenter.networks == ["a", "b"]
    assert segmenter.classes == tuple(finished.dataset.classes)
    np.testing.assert_array_equal(segmenter.predict(IMAGE), finished.predict(IMAGE))
    np.testing.assert_array_equal(segmenter.predict(IMAGE, ensemble="b"), finished.predict(IMAGE, ensemble="b"))
    more = {"flip": True, "scales": [0.5, 1.0], "window": (24, 24)}
    np.testing.assert_array_equal(segmenter.predict(IMAGE, **more), finished.predict(IMAGE, **more))
    np.testing.assert_array_equal(segmenter.prediction(IMAGE).probabilities, finished.prediction(IMAGE).probabilities)
    mask = segmenter.predict(IMAGE)
    np.testing.assert_array_equal(segmenter.colored(mask), finished.dataset.colored(mask))
    assert segmenter.to("cpu") is segmenter
    assert not segmenter.model("a").training
    with pytest.raises(ConfigError, match="no network 'c' here; there are a, b"):
        segmenter.predict(IMAGE, ensemble="c")


def test_the_code_of_the_card_works(folder, finished):
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {"image": IMAGE}
    exec(code.replace("FOLDER or USER/NAME", str(folder)), names)
    np.testing.assert_array_equal(names["mask"], finished.predict(IMAGE))


def test_saved_again_it_is_the_same(folder, tmp_path):
    dmtc.Segmenter.from_pretrained(folder).save_pretrained(tmp_path / "again")
    for name in ("config.json", "README.md"):
        again, before = ((of / name).read_text().partition('\n  "sha256"')[0] for of in (tmp_path / "again", folder))
        assert again == before, name  # the order of what a file of weights says of itself is left to chance
    tensors = load_file(folder / "model.safetensors")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)


def test_push_and_load_again(folder, hub, finished):
    segmenter = dmtc.Segmenter.from_pretrained(folder)
    assert segmenter.push_to_hub("me/city", private=True, token="t", revision="v1") == "hub://me/city/commit/1"
    assert hub[0] == ("create", "me/city", True, True, "t")
    assert hub[1][:3] == ("upload", "me/city", "v1")
    again = dmtc.Segmenter.from_pretrained("me/city", revision="v1", token="t")
    assert hub[2] == ("download", "me/city", "v1", "t", ["README.md", "config.json", "model.safetensors"])
    np.testing.assert_array_equal(again.predict(IMAGE), finished.predict(IMAGE))


def test_push_by_the_command_line(command, finished, hub):
    given = ("job=export", f"run={finished.folder.path}", "format=safetensors", "output=out", "job.push=me/city")
    code, out, err = command(*given, small_run=False)
    assert code == 0, err
    assert out.splitlines()[-1] == "uploaded to hub://me/city/commit/1"
    assert hub[0] == ("create", "me/city", True, True, None)


def test_what_the_hub_refuses_is_told_in_a_line(folder, hub):
    segmenter = dmtc.Segmenter.from_pretrained(folder)
    with pytest.raises(DataError, match=r"^refused/it: .*403: you do not own this namespace \(PermissionError\)$"):
        segmenter.push_to_hub("refused/it")
    with pytest.raises(DataError, match=r"^me/none: no such folder, and the Hugging Face Hub says: 404"):
        dmtc.Segmenter.from_pretrained("me/none")


def test_what_is_damaged_is_told(folder, tmp_path):
    def damaged(name: str, change) -> Path:
        target = tmp_path / name
        shutil.copytree(folder, target)
        change(target)
        return target

    def with_config(**changes):
        def change(target):
            config = json.loads((target / "config.json").read_text())
            (target / "config.json").write_text(json.dumps(config | changes))

        return change

    cases = [
        ("no config", lambda t: (t / "config.json").unlink(), DataError, "holds no config.json"),
        ("no weights", lambda t: (t / "model.safetensors").unlink(), DataError, "holds no model.safetensors"),
        ("no json", lambda t: (t / "config.json").write_text("{"), DataError, "config.json is damaged"),
        ("no hashes", with_config(sha256={}), DataError, "damaged, or of another version of dmtc: it has no sha256"),
        ("no task", with_config(task={}), DataError, "config.json is damaged"),
        ("later", with_config(format_version=9), DataError, "is of format 9; this version of dmtc reads 1"),
        ("cut", lambda t: (t / "model.safetensors").write_bytes(b"12"), WeightsError, "is damaged or another file"),
        ("unknown", with_config(models={"a": {"name": "mine", "backbone": {}}}), ConfigError, "mine"),
    ]
    for name, change, error, told in cases:
        with pytest.raises(error, match=told) as caught:
            dmtc.Segmenter.from_pretrained(damaged(name, change))
        assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    config["models"]["b"]["backbone"]["width"] = 16
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"network b: \d+ tensors are missing, left over or of another shape"):
        dmtc.Segmenter.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_is_told_and_never_waited_for(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    os.mkfifo(tmp_path / "out" / name)
    with pytest.raises(UserError, match=name):
        dmtc.Segmenter.from_pretrained(tmp_path / "out")
