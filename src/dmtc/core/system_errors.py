"""One-line messages and exit codes for operating system errors about files and folders."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)

# The given path is unusable, which the user can fix. Every other error number is a machine failure.
_OF_A_PATH = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENXIO,
    errno.ENODEV,
    errno.EBUSY,
    errno.ETXTBSY,
)


def explain_os_error(error: OSError) -> tuple[str, int]:
    """Return an operating system error as one line, and its exit code: 2 for a bad path, 1 for a machine failure.

    Examples:
        >>> explain_os_error(FileNotFoundError(2, "No such file or directory", "here.txt"))
        ('here.txt: No such file or directory', 2)
        >>> explain_os_error(OSError(28, "No space left on device"))
        ('No space left on device', 1)
    """
    names = [_text(name) for name in (error.filename, error.filename2) if name not in (None, "")]
    reason = " ".join((error.strerror or str(error)).split()) or type(error).__name__
    code = 2 if names and error.errno in (*_OF_A_PATH, *FORBIDDEN) else 1
    return ": ".join([" -> ".join(names), reason] if names else [reason]), code


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
