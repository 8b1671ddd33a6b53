"""Addressed randomness: every random choice has an address, and its generator is derived from that address alone.

No draws come from a shared stream, so results do not depend on the number of dataloader workers or on what ran before,
and a resumed run needs no saved random state.
"""

import hashlib

import numpy as np


def seed_of(*address: object) -> int:
    """A 63-bit seed for an address such as `(seed, "r1-a", epoch, index)`; equal addresses give equal seeds.

    Args:
        *address: Strings, integers, or anything whose `repr` is the same in every process.
    """
    digest = hashlib.blake2b(repr(address).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_of(*address: object) -> np.random.Generator:
    """A NumPy generator for an address."""
    return np.random.default_rng(seed_of(*address))
