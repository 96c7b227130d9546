"""Known pairs cut into parts that are hidden one after the other: whole rows, or single pairs.

Both cut what a fold may see, so folds can be cut within folds: what the outer one hides stays hidden.
"""

import numpy as np
from jaxtyping import Int

from corollary.randomness import generator
from corollary.repurpose.pairs import Fold, Pairs


def everything(pairs: Pairs) -> Fold:
    """Nothing hidden, every row asked: what the lists are made from."""
    return Fold(
        "all",
        np.zeros(len(pairs.known), bool),
        np.zeros(len(pairs.negatives), bool),
        np.arange(len(pairs.rows)),
        np.zeros((0, 2), np.int64),
    )


def cut_rows(pairs: Pairs, within: Fold, parts: int, seed: int) -> list[Fold]:
    """All answers of a part of the rows at a time. Every row that may be learned from is asked once, those without
    known answers too, so that the share of known pairs is the true one; parts have about as many known pairs."""
    rows = within.learned_rows(pairs)
    counts = np.bincount(within.visible(pairs)[:, 0], minlength=len(pairs.rows))[rows]
    shuffled = generator(seed, "rows", within.name).permutation(len(rows))
    order = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    part = np.empty(len(rows), np.int64)
    part[order] = _dealt(len(rows), parts)
    part_of_row = np.full(len(pairs.rows), -1)
    part_of_row[rows] = part
    found = []
    for number in range(parts):
        hidden = within.hidden | (part_of_row[pairs.known[:, 0]] == number)
        new = hidden & ~within.hidden
        found.append(
            Fold(
                f"{within.name}-rows-{number}",
                hidden,
                within.hidden_negatives | (part_of_row[pairs.negatives[:, 0]] == number),
                np.flatnonzero(part_of_row == number),
                pairs.known[new],
                whole_rows=True,
            )
        )
    return found


def cut_pairs(pairs: Pairs, within: Fold, parts: int, seed: int) -> list[Fold]:
    """A part of the visible pairs at a time, drawn at random; rows that keep a known answer are asked."""
    rows = within.learned_rows(pairs)
    draw = generator(seed, "pairs", within.name)
    part = _parts(draw.permutation(len(pairs.known)), within.hidden, parts)
    negative_part = _parts(draw.permutation(len(pairs.negatives)), within.hidden_negatives, parts)
    found = []
    for number in range(parts):
        hidden = within.hidden | (part == number)
        answered = np.unique(pairs.known[~hidden, 0])
        asked = np.intersect1d(rows, answered)
        new = pairs.known[part == number]
        found.append(
            Fold(
                f"{within.name}-pairs-{number}",
                hidden,
                within.hidden_negatives | (negative_part == number),
                asked,
                new[np.isin(new[:, 0], asked)],
            )
        )
    return found


def _dealt(count: int, parts: int) -> Int[np.ndarray, " count"]:
    """Part of each place, dealt out forwards, then backwards, and so on."""
    turn, place = np.divmod(np.arange(count), parts)
    return np.where(turn % 2 == 0, place, parts - 1 - place)


def _parts(order: Int[np.ndarray, " n"], hidden: np.ndarray, parts: int) -> Int[np.ndarray, " n"]:
    """Part of each thing that is not hidden, -1 of the others; sizes differ by one at most."""
    found = np.full(len(order), -1)
    open_ones = order[~hidden[order]]
    found[open_ones] = np.arange(len(open_ones)) % parts
    return found
