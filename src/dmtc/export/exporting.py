"""Exports networks of a run to a self-contained folder."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmtc.core.errors import ConfigError
from dmtc.core.files import write_atomically, write_json
from dmtc.core.version import __version__
from dmtc.engine.inputs import refuse_among_inputs
from dmtc.export.agreement import Agreement, compare
from dmtc.export.card import model_card
from dmtc.export.description import Trained, architecture, describe
from dmtc.export.export_folder import RECORD, ExportFolder
from dmtc.export.formats import FORMATS, FileFormat
from dmtc.export.formats.base import Size, missing_packages, require
from dmtc.export.module import ExportedModule
from dmtc.export.segmenter import CARD, CONFIG, HASHES, Segmenter
from dmtc.models import SegmentationModel, build_model
from dmtc.models.weights.files import sha256_of
from dmtc.models.weights.own import load_exactly
from dmtc.prediction import chosen_networks
from dmtc.run.beginning import refuse_own_parts

log = logging.getLogger(__name__)

_LONG = 60.0
"""Seconds after which a warning says that the exporter may never finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to export.

    Attributes:
        networks: Letters of the networks whose probabilities are averaged; None for all of the run.
        checkpoint: "last" or "best" weights.
        probabilities: Also output the probability of every class.
        size: Height and width of the images, if the file takes only one size; None for any size.
        opset: ONNX operator set version.
        license: License of the weights as an SPDX identifier; None if none was chosen.

    Raises:
        ConfigError: A value is out of range.
    """

    networks: str | None = None
    checkpoint: str = "last"
    probabilities: bool = False
    size: Sequence[int] | None = None
    opset: int = 20
    license: str | None = None

    def __post_init__(self) -> None:
        if self.checkpoint not in ("last", "best"):
            raise ConfigError(f"job.checkpoint should be last or best, but is {self.checkpoint!r}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError(f"job.size should be a positive height and width, or null, but is {list(self.size)}")
        if self.opset < 1:
            raise ConfigError(f"job.opset should be at least 1, but is {self.opset}")

    @property
    def of_size(self) -> Size:
        """`size` as a tuple, or None."""
        return None if self.size is None else (self.size[0], self.size[1])


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export.

    Attributes:
        path: The file.
        agreement: How much it differs from the networks; None if the package to read it is not installed.
        unchecked: Why it was not compared; None if it was.
        pushed: URL of the upload, if there was one.
    """

    path: Path
    agreement: Agreement | None
    unchecked: str | None
    pushed: str | None

    def text(self) -> str:
        """Readable summary."""
        megabytes = sum(file.stat().st_size for file in self.path.parent.glob(f"{self.path.name}*")) / 1e6
        lines = [f"written to {self.path} ({megabytes:.1f} MB)"]
        lines.append(
            f"not compared: {self.unchecked}"
            if self.agreement is None
            else f"compared with the networks: {self.agreement.text()}"
        )
        if self.pushed is not None:
            lines.append(f"uploaded to {self.pushed}")
        return "\n".join(lines)


def segmenter_of(run: Trained, networks: str | None, checkpoint: str, license: str | None = None) -> Segmenter:
    """Networks of a run without their training-only parts, with their description.

    Args:
        run: The run.
        networks: Letters of the networks; None for all of the run.
        checkpoint: "last" or "best" weights.
        license: License of the weights, or None.

    Raises:
        ConfigError: There is no such network.
        WeightsError: Weights are missing, because the run stopped earlier.
    """
    models: dict[str, SegmentationModel] = {}
    for letter in chosen_networks(networks, run.networks):
        trained = run.model(letter, which=checkpoint)
        bare = build_model(
            architecture(run.components.model_spec(letter)), run.task.num_classes, projection=False, seed=0
        )
        state = trained.state_dict()
        # Only losses use the projection head and the correlation head.
        used = {n: t for n, t in state.items() if not n.startswith(("projection.", "correlation."))}
        load_exactly(bare, used, f"network {letter}")
        models[letter] = bare.eval()
    return Segmenter(models, describe(run.components, run.folder, models, checkpoint, license))


def export_run(
    run: Trained,
    format: str | None,
    output: Path | None,
    options: ExportOptions,
    *,
    push: str | None = None,
    private: bool | None = True,
) -> Exported:
    """Export networks of a run to a file, compare it with them, and describe it in `config.json` and `README.md`.

    The files appear once all are done. In the folder of an earlier export they replace those of the same format;
    other files are left alone.

    Args:
        run: The run.
        format: A name in `FORMATS`.
        output: The folder; by default `export/<format>` in the run's folder.
        options: What to export.
        push: USER/NAME on the Hugging Face Hub to upload to.
        private: Whether a newly created repository is private.

    Raises:
        ConfigError: There is no such format, a package is missing, the format cannot export the architecture, or the
            folder holds other files.
        DataError: The Hub cannot be reached or refuses.
        WeightsError: Weights are missing, because the run stopped earlier.
    """
    if format is None:
        raise ConfigError(f"job=export needs format=..., one of {', '.join(FORMATS.names())}")
    kind = FORMATS.build({"name": format}, "job.format")
    require(format, kind.writing_needs)
    if (opsets := kind.opsets()) is not None and options.opset not in opsets:
        raise ConfigError(
            f"job.opset: {opsets[0]} or more, up to {opsets[-1]}, but is {options.opset}: PyTorch's exporter and the"
            " installed onnx write no other; tools for older ones need another format"
        )
    if push is not None and format != "safetensors":
        raise ConfigError(f"job.push uploads what format=safetensors writes, but the format is {format}")
    place = ExportFolder(run.folder.path / "export" / format if output is None else output, format, kind.file)
    refuse_among_inputs(run.components, place.path, "output")
    refuse_own_parts(run.folder, place.path, "output")
    place.refuse_foreign()
    segmenter = segmenter_of(run, options.networks, options.checkpoint, options.license)
    models = {letter: segmenter.model(letter) for letter in segmenter.networks}
    module = ExportedModule(models, options.probabilities)
    missing = missing_packages(kind.reading_needs)
    unchecked = f"{' and '.join(missing)} is not installed (pip install 'dmtc[export]')" if missing else None
    agreement = None
    beside = place.formats_beside(segmenter.description)
    with place.writing() as unfinished:
        _write(kind, format, segmenter, module, unfinished / kind.file, options)
        if not missing:
            agreement = _compared(kind, format, module, unfinished / kind.file, options)
        write_atomically(unfinished / CARD, model_card(segmenter.description, format, options.of_size, _sizes(beside)))
        hashes = {path.name: sha256_of(path) for path in sorted(unfinished.glob(f"{kind.file}*"))}
        write_json(unfinished / CONFIG, segmenter.description | {HASHES: place.hashes_beside(beside) | hashes})
        record = _record(format, kind, module, options, agreement, unchecked)
        write_json(unfinished / RECORD, record | {"beside": beside})
    pushed = None if push is None else segmenter.push_to_hub(push, private=private)
    return Exported(place.path / kind.file, agreement, unchecked, pushed)


def _sizes(records: Mapping[str, Any]) -> dict[str, Size]:
    return {name: None if one["size"] is None else (one["size"][0], one["size"][1]) for name, one in records.items()}


def _write(
    kind: FileFormat, format: str, segmenter: Segmenter, module: ExportedModule, path: Path, options: ExportOptions
) -> None:
    try:
        with _patience(format, options):
            kind.write(segmenter, module, path, options.of_size, options.opset)
    except (OSError, MemoryError):
        raise
    # Exporters raise many kinds of errors, with long messages.
    except Exception as error:
        raise ConfigError(
            f"the networks cannot be exported with format={format}{_for(options)}: {_reason(error)};"
            f" {_advice(format, options)}"
        ) from error


@contextmanager
def _patience(format: str, options: ExportOptions) -> Iterator[None]:
    """Warn after a while that the export may never finish, as with some architectures for images of any size."""
    text = f"format={format} has been running for {_LONG:.0f} s{_for(options)}; if it does not end, stop it and"
    timer = threading.Timer(_LONG, lambda: log.warning("%s %s", text, _advice(format, options)))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _compared(kind: FileFormat, format: str, module: ExportedModule, path: Path, options: ExportOptions) -> Agreement:
    try:
        agreement = compare(module, kind.read(path), options.of_size)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ConfigError(
            f"format={format}{_for(options)} was written, but cannot be used: {_reason(error)};"
            f" {_advice(format, options)}"
        ) from error
    if not agreement.is_close:
        raise ConfigError(
            f"format={format}{_for(options)} was written, but does not see what the networks see:"
            f" {agreement.text()}; {_advice(format, options)}"
        )
    return agreement


def _for(options: ExportOptions) -> str:
    return " for images of any size" if options.size is None else f" for images of {options.size[0]}x{options.size[1]}"


def _advice(format: str, options: ExportOptions) -> str:
    """What the user can do about a failure."""
    others = ", ".join(name for name in FORMATS.names() if name != format)
    fixed = "" if options.size is not None else "give the size of your images by job.size=[H,W], or "
    return f"{fixed}take another format ({others})"


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _record(
    format: str,
    kind: FileFormat,
    module: ExportedModule,
    options: ExportOptions,
    agreement: Agreement | None,
    unchecked: str | None,
) -> dict[str, Any]:
    return {
        "format": format,
        "file": kind.file,
        "outputs": module.outputs,
        "size": None if options.size is None else list(options.size),
        "opset": options.opset if "onnx" in kind.writing_needs else None,
        "compared": None if agreement is None else agreement.to_json(),
        "not_compared": unchecked,
        "version": __version__,
    }
