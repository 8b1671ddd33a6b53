import pytest

from dmtc.core.errors import ConfigError
from dmtc.core.registry import Registry


@pytest.fixture
def registry() -> Registry:
    registry = Registry("loss", runtime=["classes"])

    @registry.register("focal")
    def focal(*, gamma: float, name_of_it: str | None, classes: int = 0):
        return gamma, name_of_it, classes

    @registry.register("dice")
    class Dice:
        def __init__(self, *, smooth: float, weights: list[float]) -> None:
            self.smooth = smooth

    return registry


def test_builds_functions_and_classes(registry):
    assert registry.build({"name": "focal", "gamma": 2, "name_of_it": None}) == (2, None, 0)
    assert registry.build({"name": "dice", "smooth": 1.0, "weights": [1, 2.5]}).smooth == 1.0


def test_passes_runtime_values_only_to_those_that_take_them(registry):
    assert registry.build({"name": "focal", "gamma": 2.0, "name_of_it": "x"}, classes=7) == (2.0, "x", 7)
    registry.build({"name": "dice", "smooth": 1.0, "weights": []}, classes=7)


def test_unknown_name_gives_the_nearest_and_the_known(registry):
    with pytest.raises(
        ConfigError, match=r"loss\.a: unknown loss 'focall'\. Did you mean 'focal'\? Known: dice, focal"
    ):
        registry.build({"name": "focall"}, "loss.a")


def test_all_faults_in_one_message(registry):
    with pytest.raises(ConfigError) as caught:
        registry.build({"name": "focal", "gama": 1.0, "classes": 3, "gamma": "hello"}, "loss.a")
    message = str(caught.value)
    assert "unknown option 'gama'. Did you mean 'gamma'?" in message
    assert "loss.a.classes is set by the library" in message
    assert "loss.a.gamma should be float, but is 'hello'" in message
    assert "missing option 'name_of_it'" in message
    assert "\n" not in message


def test_wrong_type_inside_a_list(registry):
    with pytest.raises(ConfigError, match=r"weights should be list\[float\]"):
        registry.build({"name": "dice", "smooth": 1.0, "weights": ["x"]})


def test_missing_name(registry):
    assert registry.faults({}, "loss.a") == ["loss.a: no `name:` given (known: dice, focal)"]


def test_a_name_cannot_be_taken_twice(registry):
    with pytest.raises(ConfigError, match="'focal' is registered twice"):
        registry.register("focal")(lambda *, gamma: gamma)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"name": "focal", "gamma": float("nan"), "name_of_it": None}, "gamma should be a finite number, but is nan"),
        ({"name": "focal", "gamma": float("-inf"), "name_of_it": None}, "gamma should be a finite number, but is -inf"),
        ({"name": "focal", "gamma": True, "name_of_it": None}, "gamma should be a number, but is True"),
        ({"name": "focal", "gamma": 10**30, "name_of_it": None}, "gamma should be a number below 2"),
        ({"name": "dice", "smooth": 1.0, "weights": [1.0, float("inf")]}, "weights should be a finite number"),
    ],
)
def test_odd_numbers_are_told(registry, spec, told):
    with pytest.raises(ConfigError, match=told):
        registry.build(spec)
