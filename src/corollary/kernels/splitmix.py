"""SplitMix64: random words as a function of a key and a counter (Steele, Lea & Flood 2014).

The same place gives the same word, whatever was drawn before, on any number of threads.
"""

import numpy as np
from jaxtyping import Int, UInt

from corollary.kernels import compiled

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""How far apart two neighbouring words are before they are mixed: 2**64 over the golden ratio."""
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""The factors of its output function."""


@compiled()
def mixed(number: np.uint64) -> np.uint64:
    """The output function."""
    number = (number ^ (number >> np.uint64(30))) * FIRST
    number = (number ^ (number >> np.uint64(27))) * SECOND
    return number ^ (number >> np.uint64(31))


@compiled()
def word(key: np.uint64, counter: int) -> np.uint64:
    """The random word number `counter` of a key."""
    return mixed(key + (np.uint64(counter) + np.uint64(1)) * GOLDEN)


@compiled()
def words(key: np.uint64, counters: Int[np.ndarray, " n"]) -> UInt[np.ndarray, " n"]:
    """`word` of many counters."""
    found = np.empty(len(counters), np.uint64)
    for at in range(len(counters)):
        found[at] = word(key, counters[at])
    return found


@compiled()
def below(bits: np.uint64, limit: int) -> int:
    """A whole number below `limit` (at most 2**51) from a random word."""
    return int(
        np.int64(np.float64(np.int64(bits >> np.uint64(11))) * 1.1102230246251565e-16 * np.float64(limit))
    )


@compiled()
def few(bits: np.uint64, limit: int) -> int:
    """`below` for limits under 2**32: one multiplication."""
    return int(np.int64(((bits >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32)))
