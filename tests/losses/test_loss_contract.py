"""How a loss is called, and that its YAML files fit it."""

import copy
import inspect
import shutil
import textwrap
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from dmtc.core.class_counts import ClassCounts
from dmtc.core.errors import ConfigError
from dmtc.core.types import LossValue, Maps, StepInputs
from dmtc.losses import LOSSES, evaluate_loss, inputs_of, upsample
from dmtc.losses.base import masked_mean
from dmtc.losses.class_weights import LabelledClasses
from registered import own_names

CONF = Path(__file__).parents[2] / "conf" / "loss"
CLASSES = LabelledClasses(4, lambda: ClassCounts(1, [300, 200, 100, 0], [1, 1, 1, 0]))
CHOICES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.glob("*/*.yaml"))


@pytest.fixture
def step():
    return StepInputs(
        logits=torch.randn(2, 4, 3, 3, requires_grad=True),
        embedding=torch.randn(2, 8, 3, 3, requires_grad=True),
        label=torch.randint(4, (2, 9, 9)),
        confidence=torch.rand(2, 9, 9),
        is_pseudo=torch.tensor([True, False]),
        generator=torch.Generator().manual_seed(0),
        entropy=torch.rand(2, 9, 9),
        teacher_logits=torch.randn(2, 4, 9, 9),
        teacher_maps=Maps(torch.randn(2, 4, 3, 3), torch.randn(2, 8, 3, 3)),
    )


def without_embedding(step):
    return StepInputs(step.logits, None, step.label, step.confidence, step.is_pseudo, step.generator)


def test_a_function_a_class_and_a_module_are_losses(step):
    def function(logits, label):
        return LossValue(logits.mean() + label.float().mean())

    class Plain:
        def __call__(self, embedding, is_pseudo, scale=2.0):
            return LossValue(scale * embedding.mean())

    class Module(nn.Module):
        def forward(self, logits, **unused):
            return logits.mean()  # a bare scalar will do

    assert inputs_of(function) == ("logits", "label")
    assert inputs_of(Plain()) == ("embedding", "is_pseudo")
    assert inputs_of(Module()) == ("logits",)
    assert evaluate_loss(function, step).loss == step.logits.mean() + step.label.float().mean()
    assert evaluate_loss(Plain(), step).loss == 2 * step.embedding.mean()
    assert evaluate_loss(Module(), step) == LossValue(step.logits.mean())


def test_an_unknown_parameter_is_refused_with_the_known_ones(step):
    def loss(logits, labels):
        return logits.mean()

    with pytest.raises(
        ConfigError, match=r"takes 'labels'.*logits, embedding, label, confidence, is_pseudo, generator"
    ):
        evaluate_loss(loss, step)


def test_a_missing_embedding_is_explained(step):
    with pytest.raises(ConfigError, match=r"lambda.*needs the model's embedding"):
        evaluate_loss(lambda embedding: embedding.mean(), without_embedding(step))
    assert evaluate_loss(
        lambda logits, embedding=1.0: logits.mean() * embedding, without_embedding(step)
    ).loss.isfinite()


def test_a_loss_that_returns_something_else_is_refused(step):
    with pytest.raises(ConfigError, match=r"returned float; return a dmtc\.core\.types\.LossValue"):
        evaluate_loss(lambda logits: logits.mean().item(), step)


def test_upsample_leaves_full_size_maps_alone():
    maps = torch.randn(1, 2, 5, 4)
    assert upsample(maps, (5, 4)) is maps
    assert upsample(maps.half(), (9, 7)).dtype == torch.float32
    corners = upsample(maps, (9, 7))[..., ::8, ::6]
    torch.testing.assert_close(corners, maps[..., ::4, ::3])


def test_masked_mean_of_nothing_is_zero():
    values = torch.tensor([1.0, torch.inf, 3.0])
    assert masked_mean(values, torch.tensor([True, False, True])) == 2
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0


@pytest.fixture
def composed(tmp_path):
    """Compose the loss of one choice of a group below `loss`, without the rest of the configuration."""

    def compose_choice(choice):
        shutil.copytree(CONF, tmp_path / "conf" / "loss")
        group, name = choice.split("/")
        main = f"defaults: [_self_, loss/{group}: {name}]\nloss: {{gamma: 5.0, contrast_weight: 1.0}}\n"
        (tmp_path / "conf" / "main.yaml").write_text(main)
        with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
            loss = OmegaConf.to_container(compose("main"), resolve=True)["loss"]
        match group:
            case "labelled":
                return loss["supervised"]
            case "selection":
                return {"name": "selected_cross_entropy", "divisor": "valid", **loss["unlabelled"]}
            case _:
                return loss[group]

    return compose_choice


def example_of(name):
    """The YAML in the docstring of a loss; None if it has none."""
    doc = inspect.getdoc(LOSSES.builder(name)) or ""
    _, found, rest = doc.partition("In YAML:\n\n")
    block = rest.split("\n\n")[0]
    return OmegaConf.to_container(OmegaConf.create(textwrap.dedent(block))) if found else None


DOCUMENTED = [name for name in sorted(own_names(LOSSES)) if example_of(name)]


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if not choice.endswith("/none")] + DOCUMENTED)
def test_yaml_fits_the_loss(choice, composed, step):
    if choice in DOCUMENTED:
        spec = example_of(choice)
        assert spec["name"] == choice
    else:
        spec = composed(choice)
        if choice.startswith(("mutual/", "contrastive/")):
            assert set(spec.pop("weight")) == {"start", "rounds"}
    builder = LOSSES.builder(spec["name"])
    assert set(spec) - {"name"} == set(inspect.signature(builder).parameters) - LOSSES.runtime
    value = evaluate_loss(LOSSES.build(spec, f"loss.{choice}", classes=CLASSES), step)
    value.loss.backward()
    assert value.loss.isfinite()
    assert value.divisor is None or value.divisor.shape == ()
    assert step.logits.grad is not None or step.embedding.grad is not None


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("choice", [choice for choice in CHOICES if not choice.endswith("/none")] + DOCUMENTED)
def test_gradients_are_the_same_to_the_last_bit_with_several_threads(choice, composed, two_threads):
    spec = example_of(choice) if choice in DOCUMENTED else composed(choice)
    spec.pop("weight", None)
    loss = LOSSES.build(
        spec, f"loss.{choice}", classes=LabelledClasses(8, lambda: ClassCounts(1, list(range(8)), [1] * 8))
    )
    generator = torch.Generator().manual_seed(0)
    logits, embedding = (torch.randn(2, channels, 21, 21, generator=generator) for channels in (8, 128))
    label = torch.randint(8, (2, 81, 81), generator=generator)
    confidence, entropy = torch.rand(2, 2, 81, 81, generator=generator)
    teacher = torch.randn(2, 8, 81, 81, generator=generator)

    def gradients():
        maps = logits.clone().requires_grad_(), embedding.clone().requires_grad_()
        draws = torch.Generator().manual_seed(1)
        rows = torch.tensor([True, False])
        step = StepInputs(
            *maps,
            label,
            confidence,
            rows,
            draws,
            entropy,
            teacher,
            teacher_maps=Maps(logits.flip(0), embedding.flip(0)),
        )
        evaluate_loss(copy.deepcopy(loss), step).loss.backward()
        return [map.grad for map in maps if map.grad is not None]

    first = gradients()
    assert any(gradient.any() for gradient in first)
    for _ in range(5):
        assert all(map(torch.equal, gradients(), first))


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice.endswith("/none")])
def test_none_leaves_the_term_empty(choice, composed):
    assert composed(choice) is None


def test_every_loss_has_yaml_and_options_without_defaults():
    losses = [choice for choice in CHOICES if not choice.startswith("selection/")]
    named = {OmegaConf.load(CONF / f"{choice}.yaml").get("name") for choice in losses}
    ours = own_names(LOSSES)
    assert (named - {None}) | set(DOCUMENTED) == ours
    for name in ours:
        for parameter in inspect.signature(LOSSES.builder(name)).parameters.values():
            assert parameter.kind is parameter.KEYWORD_ONLY
            # The Python API makes RegionalContrast without min_confidence.
            if parameter.name not in LOSSES.runtime | {"min_confidence"}:
                assert parameter.default is parameter.empty
