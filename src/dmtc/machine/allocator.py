"""A setting of the C library that training on a CPU gains much from."""

import ctypes
import platform

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step instead of giving it back to the system.

    By default every large tensor is mapped afresh, and the kernel then clears each of its pages at first touch; on a
    CPU that can cost more than the arithmetic. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
