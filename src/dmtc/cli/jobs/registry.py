"""The known jobs: what `job=...` can be."""

from dmtc.core.registry import Registry

JOBS: Registry[float | None] = Registry("job", runtime=["config", "folder", "given"])
"""Builders do the work and return the final mIoU for sweeps, or None. They may take `config`, `folder: Path` and
`given`, the dotted names of what was asked for on the command line."""
