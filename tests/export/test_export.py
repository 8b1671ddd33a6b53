"""`job=export`: every format read back by what others read it with, and what the files say of themselves."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

import dmtc
from dmtc.core.errors import ConfigError
from dmtc.export import FORMATS, ExportOptions, export_run, exporting
from dmtc.export.card import headline, model_card
from dmtc.export.description import published_license
from dmtc.export.exporting import segmenter_of
from dmtc.export.formats import base, onnx_format, torch_formats

SIZES = [(1, 33, 47), (3, 64, 48), (2, 128, 96)]


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (count, height, width, 3), np.uint8)


def session(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    import onnxruntime

    opened = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: opened.run(None, {"images": images})


def module(load: Callable[[Path], torch.nn.Module]) -> Callable[[Path], Callable[[np.ndarray], list[np.ndarray]]]:
    def opened(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
        loaded = load(path)
        return lambda images: [one.detach().numpy() for one in loaded(torch.from_numpy(images))]

    return opened


OPENED = {
    "onnx": ("model.onnx", session),
    "torchscript": ("model.pt", module(torch_formats.TorchScript().read)),
    "torch_export": ("model.pt2", module(torch_formats.TorchExport().read)),
}


@pytest.fixture(scope="module", params=OPENED)
def exported(request, finished, tmp_path_factory):
    """The ensemble with probabilities, in one of the formats: name, folder, what came of it."""
    folder = tmp_path_factory.mktemp(request.param) / "out"
    options = ExportOptions(probabilities=True, license="cc-by-4.0")
    return request.param, folder, export_run(finished, request.param, folder, options)


def test_every_format_sees_what_the_run_sees(exported, finished):
    format, folder, came = exported
    file, opened = OPENED[format]
    run = opened(folder / file)
    for count, height, width in SIZES:
        images = pictures(count, height, width)
        classes, confidence, probabilities = run(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        assert (classes.dtype, confidence.dtype, probabilities.dtype) == (np.uint8, np.float32, np.float32)
        assert classes.shape == confidence.shape == (count, height, width)
        for index, seen in enumerate(finished.prediction(images)):
            np.testing.assert_allclose(probabilities[index], seen.probabilities, atol=2e-5)
            np.testing.assert_allclose(confidence[index], seen.confidence, atol=2e-5)
            assert (classes[index] != seen.label).mean() < 1e-3
    assert came.agreement.largest_difference < 1e-4
    assert "largest difference of a probability" in came.text()


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_files_describe_themselves(exported, finished):
    format, folder, _ = exported
    if format == "onnx":
        import onnxruntime

        metadata = onnxruntime.InferenceSession(str(folder / "model.onnx")).get_modelmeta().custom_metadata_map
        inside = {key: json.loads(value) for key, value in metadata.items() if value.startswith(("{", "[", "null"))}
        assert metadata["version"] == dmtc.__version__
        assert metadata["license"] == "cc-by-4.0"
    else:
        files = {torch_formats.DESCRIPTION: ""}
        if format == "torchscript":
            torch.jit.load(folder / "model.pt", _extra_files=files)
        else:
            torch.export.load(folder / "model.pt2", extra_files=files)
        inside = json.loads(files[torch_formats.DESCRIPTION])
    assert inside["task"] == finished.task.to_json()
    assert inside["results"]["miou"] == finished.results["miou"]
    assert inside["normalization"]["a"] == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "channels": "RGB",
    }
    assert inside["config"]["schedule"] == finished.config["schedule"]
    assert inside["starting_weights"]["b"]["source"] == "fresh"
    beside = json.loads((folder / "config.json").read_text())
    assert beside.items() >= inside.items()
    record = json.loads((folder / "export.json").read_text())
    assert record["compared"]["largest_difference"] < 1e-4
    assert [len(shape) for shape in record["compared"]["shapes"]] == [3, 3, 3]
    assert (record["opset"] is not None) == (format == "onnx")


def test_nothing_tells_of_this_machine(exported, finished, data_root):
    _, folder, _ = exported
    for path in ("config.json", "README.md", "export.json"):
        text = (folder / path).read_text()
        assert str(data_root) not in text
        assert str(finished.folder.path.parent) not in text
        assert str(Path.home()) not in text


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_the_code_of_card_and_page_works(exported, monkeypatch):
    format, folder, _ = exported
    monkeypatch.chdir(folder)
    page = Path(__file__).parents[2] / "docs" / "export.md"
    for text in (Path("README.md").read_text(), page.read_text("utf-8")):
        (code,) = [block.split("```")[0] for block in text.split("```python\n")[1:] if OPENED[format][0] + '"' in block]
        names: dict = {}
        exec(code, names)
        assert names["classes"].shape == names["confidence"].shape == (1, 480, 640)


def test_the_script_of_the_walkthrough_writes_the_masks_of_the_run(exported, finished, monkeypatch, tmp_path):
    format, folder, _ = exported
    if format != "onnx":
        return
    page = (Path(__file__).parents[2] / "docs" / "walkthrough.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(# segment\.py\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shown = {"a.png": pictures(1, 48, 48)[0], "b.png": pictures(1, 30, 70)[0]}
    (tmp_path / "new").mkdir()
    for name, image in shown.items():
        Image.fromarray(image).save(tmp_path / "new" / name)
    monkeypatch.setattr("sys.argv", ["segment.py", str(folder / "model.onnx"), f"{tmp_path}/new", f"{tmp_path}/masks"])
    exec(code, {})
    for name, image in shown.items():
        assert (np.asarray(Image.open(tmp_path / "masks" / name)) != finished.predict(image)).mean() < 1e-3


def test_onnx_has_the_opset_that_was_asked_for(exported):
    import onnx

    format, folder, _ = exported
    if format != "onnx":
        return
    file = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert [(one.domain, one.version) for one in file.opset_import if one.domain == ""] == [("", 20)]
    assert [one.name for one in file.graph.output] == ["classes", "confidence", "probabilities"]
    image = file.graph.input[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.UINT8
    assert [axis.dim_param or axis.dim_value for axis in image.shape.dim] == ["batch", 3, "height", "width"]


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "torchscript", "torch_export"])
def test_one_size_alone(finished, tmp_path, format):
    came = export_run(finished, format, tmp_path / "out", ExportOptions(networks="b", size=(40, 56)))
    assert came.agreement.shapes == ((1, 40, 56), (2, 40, 56))
    assert "height 40 and width 56 alone" in (tmp_path / "out" / "README.md").read_text()
    images = pictures(2, 40, 56)
    classes, _ = OPENED[format][1](came.path)(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    np.testing.assert_array_equal(classes, finished.predict(images, ensemble="b"))


def test_by_the_command_line(command, finished, tmp_path):
    given = ("job=export", f"run={finished.folder.path}", "format=torchscript", "output=out", "job.license=mit")
    code, out, err = command(*given, "job.networks=b", "job.checkpoint=best", small_run=False)
    assert code == 0, err
    assert out.splitlines()[0].startswith("written to out/model.pt (")
    assert out.splitlines()[1].startswith("compared with the networks: largest difference of a probability ")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".dmtc-export.json",
        "README.md",
        "config.json",
        "export.json",
        "model.pt",
    ]
    description = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (description["networks"], description["checkpoint"], description["license"]) == ("b", "best", "mit")
    assert command(*given, small_run=False)[0] == 0, "an earlier export is replaced"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["networks"] == "ab"


def test_the_card_tells_the_scores_of_results_json(finished):
    segmenter = segmenter_of(finished, None, "last", "cc-by-4.0")
    card = model_card(segmenter.description, "safetensors")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    assert head["library_name"] == "dmtc"
    metric = head["model-index"][0]["results"][0]["metrics"][0]
    assert metric == {"type": "mean_iou", "value": finished.results["miou"]["ensemble"]}
    assert f"mIoU {100 * finished.results['miou']['ensemble']:.1f} % on the validation images, of the ensemble" in card
    for name, iou in finished.results["per_class_iou"].items():
        row = next(line for line in card.splitlines() if f" | {name} | " in line)
        assert row.endswith("|  |" if iou is None else f"| {100 * iou:.1f} % |")
    assert "labelled images: 3, unlabelled images: 21" in card


@pytest.mark.parametrize("network", ["a", "b"])
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_the_headline_is_of_exactly_these_weights(finished, network, checkpoint):
    description = segmenter_of(finished, network, checkpoint).description
    assert headline(description) == (finished.results["miou"][network][checkpoint], f"network {network}")
    card = model_card(description, "onnx")
    assert ("chosen on the reported validation images" in card) == (checkpoint == "best")


def test_no_figure_is_told_that_nobody_measured(finished):
    of_best = segmenter_of(finished, "ab", "best").description
    assert headline(of_best) is None
    assert "no score of exactly these networks" in model_card(of_best, "onnx")
    unfinished = of_best | {"results": None}
    card = model_card(unfinished, "onnx")
    assert "not finished: there are no scores" in card
    assert "model-index" not in card
    assert " %" not in card


def test_weights_that_were_published_are_told_with_their_license(finished, monkeypatch, tmp_path):
    first = {"source": "/home/me/coco.pth", "sha256": "ab" * 32}
    monkeypatch.setattr(type(finished.folder), "read_weights_report", lambda self, phase: first)
    card = model_card(segmenter_of(finished, "a", "last").description, "onnx")
    assert f"started from coco.pth (SHA-256 {'ab' * 32})" in card
    assert "network a started from coco.pth: not recorded" in card
    assert "/home/me" not in card


@pytest.mark.parametrize("recipe", ["dmtc_voc_1_8", None])
def test_the_card_names_the_recipe_and_nothing_else_of_the_command(finished, monkeypatch, recipe):
    words = ["run.py", *([f"experiment={recipe}"] if recipe else []), "dataset.root=/home/me/voc"]
    monkeypatch.setattr(type(finished.folder), "read_environment", lambda self: {"command": words})
    description = segmenter_of(finished, "a", "last").description
    assert description["recipe"] == recipe
    card = model_card(description, "onnx")
    assert (f"- recipe: `experiment={recipe}`" in card) == (recipe is not None)
    assert "/home/me" not in json.dumps(description) + card


def test_license_of_published_weights(finished, monkeypatch):
    monkeypatch.setattr(type(finished.folder), "read_weights_report", lambda self, phase: {"source": "imagenet"})
    start = segmenter_of(finished, "a", "last").description["starting_weights"]["a"]
    assert start == {"source": "published weights of Tiny", "sha256": None, "license": None}
    backbone = SimpleNamespace(arch="mobilenetv2_050", body=None)
    assert published_license(SimpleNamespace(backbone=backbone)) is None, "torchvision says nothing"
    backbone.body = object()
    assert published_license(SimpleNamespace(backbone=backbone)) == "apache-2.0", "timm does"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "job=export needs format=..., one of onnx, safetensors, torch_export, torchscript"),
        (["format=onx"], "unknown export format 'onx'. Did you mean 'onnx'?"),
        (["format=torchscript", "job.networks=x"], "job.networks should be a or b or ab"),
        (["format=torchscript", "job.checkpoint=first"], "job.checkpoint should be last or best"),
        (["format=torchscript", "job.size=[0,3]"], "job.size should be a positive height and width"),
        (["format=torchscript", "job.size=[3]"], "job.size should be a positive height and width"),
        (["format=onnx", "job.opset=0"], "job.opset should be at least 1"),
        (["format=onnx", "job.opset=99"], "job.opset: 18 or more, up to"),
        (["format=onnx", "job.push=me/it"], "job.push is read by job=export only with format=safetensors"),
        (["format=torchscript", "output=used"], "output=used holds other files"),
        (["format=torchscript", "output=used/file"], "output=used/file is a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_told_and_nothing_is_written(command, finished, tmp_path, arguments, told):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    own = () if any(a.startswith("output=") for a in arguments) else ("output=out",)
    code, _, err = command("job=export", f"run={finished.folder.path}", *own, *arguments, small_run=False)
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_missing_package_is_told_with_the_command_that_installs_it(command, finished, monkeypatch):
    real = base.find_spec
    monkeypatch.setattr(base, "find_spec", lambda name: None if "onnx" in name else real(name))
    given = ("job=export", f"run={finished.folder.path}", "format=onnx", "output=out")
    code, _, err = command(*given, small_run=False)
    assert code == 2
    assert err == "error: format=onnx needs onnx and onnxscript: pip install 'dmtc[export]'\n"


def test_without_onnxruntime_a_file_is_written_and_said_to_be_unchecked(finished, monkeypatch, tmp_path):
    real = base.find_spec
    monkeypatch.setattr(base, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    monkeypatch.setattr(onnx_format.Onnx, "write", lambda self, segmenter, module, path, size, opset: path.touch())
    came = export_run(finished, "onnx", tmp_path / "out", ExportOptions(networks="a"))
    assert "not compared: onnxruntime is not installed (pip install 'dmtc[export]')" in came.text()
    assert json.loads((tmp_path / "out/export.json").read_text())["not_compared"].startswith("onnxruntime")


def test_a_file_that_sees_something_else_is_refused(finished, monkeypatch, tmp_path):
    real = torch_formats.TorchScript.read

    def other(self, path):
        run = real(self, path)
        return lambda images: run(255 - images)

    monkeypatch.setattr(torch_formats.TorchScript, "read", other)
    with pytest.raises(ConfigError, match=r"does not see what the networks see: .*job\.size=\[H,W\], or take another"):
        export_run(finished, "torchscript", tmp_path / "out", ExportOptions(networks="a"))
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_that_an_exporter_refuses_is_told(finished, monkeypatch, tmp_path):
    def refuses(module, size):
        raise RuntimeError("Constraints violated (height)!\n  a long story")

    monkeypatch.setattr(torch_formats, "exported_program", refuses)
    with pytest.raises(ConfigError) as told:
        export_run(finished, "torch_export", tmp_path / "out", ExportOptions(networks="a"))
    assert "for images of any size: RuntimeError: Constraints violated (height)!; give the size" in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_that_may_not_end_is_told(finished, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(exporting, "_LONG", 0.01)
    real = torch_formats.TorchScript.write
    monkeypatch.setattr(torch_formats.TorchScript, "write", lambda *given: time.sleep(0.2) or real(*given))
    with caplog.at_level("WARNING"):
        export_run(finished, "torchscript", tmp_path / "out", ExportOptions(networks="a"))
    (told,) = caplog.messages
    assert "format=torchscript has been running for 0 s for images of any size" in told
    assert "give the size of your images by job.size=[H,W], or take another format (onnx, safetensors" in told


def test_every_format_is_tested():
    assert set(FORMATS.names()) == {*OPENED, "safetensors"}


def test_safetensors_carry_the_description(finished, tmp_path):
    export_run(finished, "safetensors", tmp_path / "out", ExportOptions())
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        metadata = file.metadata()
        assert not any("projection" in name for name in list(file.keys()))
    assert json.loads(metadata["task"]) == finished.task.to_json()
    assert metadata["library"] == "dmtc"
