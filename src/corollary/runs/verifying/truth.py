"""Influence rankings against a list of edges that are known to matter, such as those of a described mechanism."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from corollary.errors import InputError, UnknownName
from corollary.explain.datamodelling import (
    Estimate,
    average_precision,
    expected_by_chance,
    mean_estimate,
    reciprocal_rank,
)
from corollary.graph.folder import Graph
from corollary.messages import Say, silent
from corollary.runs.verifying.results import Truth, TruthRow
from corollary.runs.verifying.scores import Blocks


@dataclass(frozen=True)
class TrueEdges:
    """Rows of the training split that matter for each target.

    Args:
        targets: None where the file names edges alone: the one list of rows is every target's.
    """

    targets: Int[np.ndarray, "targets 3"] | None
    rows: list[Int[np.ndarray, " _"]]
    left_out: list[str]

    def of(self, targets: Int[np.ndarray, "targets 3"]) -> "TrueEdges":
        """With these targets, where the file named none."""
        return (
            self
            if self.targets is not None
            else replace(self, targets=targets, rows=self.rows * len(targets))
        )


def read_truth(path: Path, graph: Graph, *, say: Say = silent) -> TrueEdges:
    """Lines of head, relation, tail: edges that matter for every target; or of six fields, the target's three first.

    A line with an unknown name, or of an edge that is no training triple, is said and left out.

    Raises `InputError` for a file that cannot be read, for a line of another number of fields, and where none is left.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    train = {tuple(triple): row for row, triple in reversed(list(enumerate(graph.triples("train").tolist())))}
    left_out: list[str] = []
    found: dict[tuple[int, ...], list[int]] = {}
    width = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        parts, where = line.split("\t"), f"{path}:{number}"
        width = width or len(parts)
        if len(parts) not in (3, 6) or len(parts) != width:
            raise InputError(
                f"{where}: expected {'3 or 6' if len(parts) == width else width} fields between tabs (head, relation, "
                f"tail of an edge, before them those of a target), found {len(parts)}"
            )
        try:
            *target, head, relation, tail = _encoded(graph, parts, where)
        except UnknownName as error:
            left_out.append(str(error))
            continue
        if (head, relation, tail) not in train:
            left_out.append(f"{where}: ({', '.join(parts[-3:])}) is not among the training triples")
            continue
        found.setdefault(tuple(target), []).append(train[head, relation, tail])
    for message in left_out:
        say(f"left out: {message}")
    if not found:
        raise InputError(f"{path}: none of its {len(lines)} lines names a training triple")
    if width == 3:
        return TrueEdges(None, [np.unique(found[()])], left_out)
    asked = np.array(list(found), dtype=np.int64)
    return TrueEdges(asked, [np.unique(rows) for rows in found.values()], left_out)


def _encoded(graph: Graph, parts: Sequence[str], where: str) -> list[int]:
    return [
        (graph.relations if place % 3 == 1 else graph.entities).find(part, where=where)
        for place, part in enumerate(parts)
    ]


def against_truth(path: Path, edges: TrueEdges, scored: dict[str, Blocks], num_train: int) -> Truth:
    """Reciprocal rank of the first true edge and average precision, mean over targets; by chance beside them.

    Each score goes over the training triples twice: to pick the true edges' scores, and to count what is above them.
    """
    rows = [_row(name, places_of(blocks, edges.rows)) for name, blocks in scored.items()]
    chance = {count: expected_by_chance(count, num_train) for count in {len(some) for some in edges.rows}}
    first, precision = np.mean([chance[len(some)] for some in edges.rows], axis=0).tolist()
    rows.append(TruthRow("by chance", Estimate(first), Estimate(precision)))
    return Truth(
        file=path.name,
        targets=len(edges.rows),
        edges=float(np.mean([len(some) for some in edges.rows])),
        left_out=edges.left_out,
        rows=rows,
    )


def _row(name: str, places: list[Float[np.ndarray, " _"]]) -> TruthRow:
    return TruthRow(
        name,
        mean_estimate([reciprocal_rank(some) for some in places]),
        mean_estimate([average_precision(some) for some in places]),
    )


def places_of(blocks: Blocks, true: list[Int[np.ndarray, " _"]]) -> list[Float[np.ndarray, " _"]]:
    """Ranks of each target's true edges among all training triples, from 1; of equal scores the middle."""
    picked = [np.empty(len(rows)) for rows in true]
    for rows, scores in blocks():
        where = {row: place for place, row in enumerate(rows.tolist())}
        for number, wanted in enumerate(true):
            for place, row in enumerate(wanted.tolist()):
                if row in where:
                    picked[number][place] = scores[where[row], number]
    above = [np.zeros(len(rows)) for rows in true]
    for _, scores in blocks():
        for number, ours in enumerate(picked):
            column = np.sort(scores[:, number])
            high = len(column) - np.searchsorted(column, ours, side="right")
            level = np.searchsorted(column, ours, side="right") - np.searchsorted(column, ours, side="left")
            above[number] += high + level / 2
    return [count + 0.5 for count in above]  # each edge is level with itself, which counted a half
