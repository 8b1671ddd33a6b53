"""Components by name: YAML gives `name: ...` plus keyword arguments, and a registry builds the object.

A component is any callable (class or function) whose parameters are annotated and accept keywords. Values that exist
only at run time, such as the number of classes, are declared by the registry, passed by the library, and refused in
YAML. A spec is fully checked before anything is built, so that one message can list every error.
"""

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from beartype import BeartypeConf
from beartype.door import is_bearable

from dmtc.core.errors import ConfigError
from dmtc.core.suggestions import did_you_mean, nearest

T = TypeVar("T")
Builder = TypeVar("Builder", bound=Callable[..., Any])

# YAML users write 5 for a float, so an int is accepted as one.
_LENIENT = BeartypeConf(is_pep484_tower=True)


class Registry(Generic[T]):
    """The known components of one kind.

    Args:
        kind: The word for a component in messages, for example "loss".
        runtime: Names of the arguments that the library passes itself and that YAML must not set.

    Examples:
        >>> SHAPES: Registry[object] = Registry("shape")
        >>> @SHAPES.register("circle")
        ... class Circle:
        ...     def __init__(self, *, radius: float) -> None:
        ...         self.radius = radius
        >>> SHAPES.build({"name": "circle", "radius": 2}).radius
        2
        >>> SHAPES.build({"name": "cirle", "radius": 2})
        Traceback (most recent call last):
        dmtc.core.errors.ConfigError: shape: unknown shape 'cirle'. Did you mean 'circle'? Known: circle
    """

    def __init__(self, kind: str, runtime: Iterable[str] = ()) -> None:
        self.kind = kind
        self.runtime = frozenset(runtime)
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Builder], Builder]:
        """Return a decorator that registers a class or function as `name`.

        Raises:
            ConfigError: Another component already has this name.
        """

        def decorate(builder: Builder) -> Builder:
            known = self._builders.get(name)
            # The same definition may register twice, when a notebook cell or an `imports=` module runs again.
            if known is not None and _origin(known) != _origin(builder):
                raise ConfigError(f"{self.kind} {name!r} is registered twice: {_origin(known)}, {_origin(builder)}")
            self._builders[name] = builder
            return builder

        return decorate

    def names(self) -> list[str]:
        """The registered names in alphabetical order."""
        return sorted(self._builders)

    def builder(self, name: str) -> Callable[..., T]:
        """The registered callable itself."""
        if name not in self._builders:
            raise ConfigError(f"unknown {self.kind} {unknown(name, self._builders)}")
        return self._builders[name]

    def faults(self, spec: Mapping[str, Any], where: str) -> list[str]:
        """List every error in a spec, one sentence each.

        A builder that takes the spec of another component has a static method `nested_faults(arguments, where)`, which
        lists the errors in it.

        Args:
            spec: `name` plus keyword arguments.
            where: The spec's place in the config, for messages, for example "loss.mutual".
        """
        if not isinstance(spec, Mapping):
            return [f"{where} should be `name:` and its options, but is {spec!r}"]
        name = spec.get("name")
        if name is None:
            return [f"{where}: no `name:` given (known: {', '.join(self.names())})"]
        if not isinstance(name, str) or name not in self._builders:
            return [f"{where}: unknown {self.kind} {unknown(str(name), self._builders)}"]
        arguments = {key: value for key, value in spec.items() if key != "name"}
        builder = self._builders[name]
        faults = argument_faults(builder, arguments, where, self.runtime)
        nested = getattr(builder, "nested_faults", None)
        return faults if faults or nested is None else nested(arguments, where)

    def build(self, spec: Mapping[str, Any], where: str | None = None, **runtime: Any) -> T:
        """Check a spec and build the component.

        Args:
            spec: `name` plus keyword arguments, as in YAML.
            where: The spec's place in the config, for messages.
            **runtime: Values for the declared runtime arguments; those that the component does not accept are dropped.

        Raises:
            ConfigError: Unknown name or argument, missing argument, or wrong type; one message lists all errors.
        """
        raise_faults(self.faults(spec, where or self.kind))
        builder = self._builders[spec["name"]]
        arguments = {key: value for key, value in spec.items() if key != "name"}
        accepted = inspect.signature(builder).parameters
        arguments.update({key: value for key, value in runtime.items() if key in accepted})
        return builder(**arguments)


def argument_faults(
    builder: Callable[..., Any], arguments: Mapping[str, Any], where: str, runtime: Iterable[str] = ()
) -> list[str]:
    """Check keyword arguments against a callable's signature and annotations; return one sentence per error."""
    runtime = frozenset(runtime)
    hints = typing.get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    parameters = {key: value for key, value in inspect.signature(builder).parameters.items() if key not in runtime}
    if not isinstance(arguments, Mapping):
        return [f"{where} should be settings by name, but is {arguments!r}"]
    faults = []
    for key, value in arguments.items():
        if key in runtime:
            faults.append(f"{where}.{key} is set by the library and cannot be given")
        elif key not in parameters:
            faults.append(f"{where}: unknown option {unknown(key, parameters)}")
        elif key in hints and not is_bearable(value, hints[key], conf=_LENIENT):
            expected = hints[key].__name__ if inspect.isclass(hints[key]) else str(hints[key]).replace("typing.", "")
            faults.append(f"{where}.{key} should be {expected}, but is {value!r}")
        elif key in hints and (what := _odd_number(value, hints[key])):
            faults.append(f"{where}.{key} should be {what}, but is {value!r}")
    missing = [k for k, p in parameters.items() if p.default is inspect.Parameter.empty and k not in arguments]
    if missing:
        faults.append(f"{where}: missing option {', '.join(map(repr, missing))}")
    return faults


def _odd_number(value: Any, hint: Any) -> str | None:
    """What a number, or one in a list or mapping, should be; None if nothing is odd about it."""
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return next((what for each in inner if (what := _odd_number(each, hint))), None)
    if isinstance(value, bool):
        takes_numbers_alone = hint in (int, float) or ("bool" not in str(hint) and "Any" not in str(hint))
        return "a number" if takes_numbers_alone else None
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a number below 2^63"
    return None


def raise_faults(faults: list[str]) -> None:
    """Raise one `ConfigError` that lists every error, if there are any."""
    if faults:
        raise ConfigError("; ".join(faults))


def unknown(name: str, known: Iterable[str]) -> str:
    """Describe an unknown name, with the closest match and a list of the known names."""
    known = sorted(known)
    hint = did_you_mean(map(repr, nearest(str(name), known)))
    return f"{name!r}.{hint} Known: {', '.join(known) or 'none'}"


def _origin(builder: Callable[..., Any]) -> str:
    return f"{builder.__module__}.{builder.__qualname__}"
