"""Registry of the jobs that `job=...` can name."""

from dmtc.core.registry import Registry

JOBS: Registry[float | None] = Registry("job", runtime=["config", "folder", "given"])
"""Builders run the job and return the final mIoU for sweeps, or None. They may take `config`, `folder: Path` and
`given`, the dotted names of the options on the command line."""
