"""Random numbers as a function of where they are used, not of a running generator.

`generator(seed, "order", epoch)` always gives the same stream, whatever was drawn before. So resuming, prefetching
with any number of threads and cutting a batch differently change nothing. Source: Salmon et al. 2011 (Philox).
"""

import hashlib

import numpy as np
from jaxtyping import Bool
from numpy.random import Generator, Philox

_WORDS_PER_COUNT = 8  # one Philox count gives four 64-bit numbers: eight of 32 bits


def philox(seed: int, *place: int | str) -> Philox:
    """The counter-based bit generator of one place, such as `(epoch, step, "input dropout")`."""
    text = "\x1f".join(str(part) for part in (seed, *place))
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return Philox(key=key)


def generator(seed: int, *place: int | str) -> Generator:
    """A numpy generator for one place."""
    return Generator(philox(seed, *place))


def keep_mask(
    seed: int, *place: int | str, rows: slice, width: int, probability: float
) -> Bool[np.ndarray, "rows width"]:
    """Which entries a dropout keeps, with `probability` each: row i is the same whatever `rows` is cut to."""
    counts_per_row = -(-width // _WORDS_PER_COUNT)
    bits = philox(seed, *place)
    bits.advance(rows.start * counts_per_row)
    raw = bits.random_raw((rows.stop - rows.start) * counts_per_row * 4).view(np.uint32)
    words = raw.reshape(rows.stop - rows.start, counts_per_row * _WORDS_PER_COUNT)[:, :width]
    return words < np.uint32(min(round(probability * 2**32), 2**32 - 1))
