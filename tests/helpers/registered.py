"""What the library itself registers: other tests of the same process may have added components of a user's."""

from dmtc.core.registry import Registry


def own_names(registry: Registry) -> set[str]:
    """Names of the components that are not a user's."""
    return {name for name in registry.names() if registry.builder(name).__module__.startswith("dmtc.")}
