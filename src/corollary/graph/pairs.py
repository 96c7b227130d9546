"""Which triples link the same two entities: what must be hidden together, and split together."""

from collections.abc import Collection
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt

Parallel = Literal["all", "same"] | tuple[int, ...]
"""Relations that say the same of a pair: all of them, none but each its own, or the ones named."""


def pair_numbers(
    triples: Int[np.ndarray, "n 3"], num_entities: int, num_relations: int, parallel: Parallel = "all"
) -> Int[np.ndarray, " n"]:
    """A number for each triple, the same for those to be hidden with it: of the same two entities, in either direction,
    and of parallel relations. Numbers are dense from 0.

    Scratch: about 50 bytes a triple.
    """
    head, relation, tail = (triples[:, column].astype(np.int64) for column in range(3))
    key = np.minimum(head, tail) * num_entities + np.maximum(head, tail)
    if parallel == "all":
        return np.unique(key, return_inverse=True)[1].astype(np.int32)
    _, pair = np.unique(key, return_inverse=True)
    family = np.arange(num_relations)
    if not isinstance(parallel, str) and len(parallel):
        family[list(parallel)] = min(parallel)
    return np.unique(pair * num_relations + family[relation], return_inverse=True)[1].astype(np.int32)


def hidden_with(asked: Int[np.ndarray, " asked"], numbers: Int[np.ndarray, " n"]) -> UInt[np.ndarray, " n"]:
    """1 for every triple that shares its number with one that is asked for, itself included."""
    flags = np.zeros(int(numbers.max(initial=-1)) + 1, np.uint8)
    flags[numbers[asked]] = 1
    return flags[numbers]


def linked_pairs(
    triples: Int[np.ndarray, "n 3"],
    others: Int[np.ndarray, "m 3"],
    num_entities: int,
    relations: Collection[int] | None = None,
) -> Int[np.ndarray, " found"]:
    """Rows of `others` whose two entities some triple links, in either direction; `relations`: of these alone."""
    if relations is not None:
        triples = triples[np.isin(triples[:, 1], list(relations))]
    keys = [
        np.minimum(t[:, 0], t[:, 2]).astype(np.int64) * num_entities + np.maximum(t[:, 0], t[:, 2])
        for t in (triples, others)
    ]
    return np.flatnonzero(np.isin(keys[1], keys[0]))
