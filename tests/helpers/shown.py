"""Teachers and views as their YAML files give them, but for what a test changes."""

from dataclasses import replace
from typing import Any

from dmtc.batches.views import WEAK_VIEWS, Views
from dmtc.config.folder import config_folder
from dmtc.core.yaml_files import read_yaml
from dmtc.pseudo.teachers import TEACHERS, Teacher


def teacher(name: str, **options: Any) -> Teacher:
    """A teacher of `conf/teacher`."""
    folder = config_folder() / "teacher"
    spec = read_yaml(folder / "_average.yaml") | read_yaml(folder / f"{name}.yaml") | options
    return TEACHERS.build({key: value for key, value in spec.items() if key != "defaults"})


def views(**options: Any) -> Views:
    """The weak views, but for these options."""
    return replace(WEAK_VIEWS, **options)
