"""A relation between two node types with its degrees kept and its meaning lost, as a null to judge figures by.

Two edges are drawn and trade their columns, unless that would repeat an edge or make one that is barred. After a few trades
an edge, all that is left of the relation is how often each row and each column occurs in it.

Source: Hanhijärvi et al. 2009 (XSwap); ten trades an edge as in Himmelstein et al. 2017. Plain twin: tests/reference/rewiring.py.
"""

import numpy as np
from jaxtyping import Int, UInt

from corollary.kernels import compiled
from corollary.kernels.splitmix import word

TRADES = 10
"""Trades that are tried for each edge."""


@compiled()
def _has(taken: UInt[np.ndarray, " bytes"], cell: int) -> bool:
    return bool(taken[cell >> 3] & (np.uint8(1) << np.uint8(cell & 7)))


@compiled()
def _flip(taken: UInt[np.ndarray, " bytes"], cell: int) -> None:
    taken[cell >> 3] ^= np.uint8(1) << np.uint8(cell & 7)


@compiled()
def rewired(
    edges: Int[np.ndarray, "edges 2"],
    barred: Int[np.ndarray, "barred 2"],
    num_rows: int,
    num_columns: int,
    trades: int,
    key: np.uint64,
) -> tuple[Int[np.ndarray, "edges 2"], int]:
    """The edges after so many attempts to trade, in the order of the given ones, and how many attempts succeeded.

    Each edge keeps its row; rows and columns occur as often as before, and no edge occurs twice.

    Args:
        edges: row and column, each pair once.
        barred: pairs that no edge may become.
        trades: attempts.
        key: of the random numbers; the same key, edges and order give the same result.

    Time: linear in attempts. Memory: a bit for each pair of the matrix, and 16 bytes an edge.
    """
    taken = np.zeros((num_rows * num_columns + 7) >> 3, np.uint8)
    for at in range(len(barred)):
        cell = barred[at, 0] * num_columns + barred[at, 1]
        if not _has(taken, cell):
            _flip(taken, cell)
    found = edges.copy()
    for at in range(len(edges)):
        _flip(taken, edges[at, 0] * num_columns + edges[at, 1])
    count, done = np.uint64(len(edges)), 0
    for attempt in range(trades if len(edges) > 1 else 0):
        one = np.int64(word(key, 2 * attempt) % count)
        other = np.int64(word(key, 2 * attempt + 1) % count)
        first, second = found[one, 1], found[other, 1]
        if found[one, 0] == found[other, 0] or first == second:
            continue
        base, base_other = found[one, 0] * num_columns, found[other, 0] * num_columns
        if _has(taken, base + second) or _has(taken, base_other + first):
            continue
        for cell in (base + first, base_other + second, base + second, base_other + first):
            _flip(taken, cell)
        found[one, 1], found[other, 1] = second, first
        done += 1
    return found, done
