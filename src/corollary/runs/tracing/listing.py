"""From sums over blocks to named results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from corollary.explain.ensemble import Scores
from corollary.explain.influence import UNIT, Asked
from corollary.runs.tracing.config import TracInConfig
from corollary.runs.tracing.paths import Path, PathSum
from corollary.runs.tracing.results import (
    Distribution,
    Naming,
    PathListed,
    PathShare,
    Share,
    Support,
    Supports,
    Traced,
)
from corollary.runs.tracing.sums import BINS_A_DECADE, DECADES, Sums

Parts = Mapping[str, Mapping[int, np.ndarray]]
"""By checkpoint and row, what it adds for every asked triple."""


def traced(
    naming: Naming,
    influence: Scores,
    config: TracInConfig,
    asked: Asked,
    reference: Any,
    rows: Int[np.ndarray, " candidates"],
    sums: Sums,
    names: Sequence[str],
) -> list[Traced]:
    """Every asked triple with what was kept for it.

    Args:
        names: of the checkpoints, of all runs.
    """
    graph = naming.graph
    own = influence.self_influence(asked.triples, deletion="example").tolist()
    losses = influence.losses(asked.triples).tolist()
    parts = (
        _by_checkpoint(influence, graph.triples("train"), reference, sums, len(own), names)
        if config.by_checkpoint
        else None
    )
    found = []
    for number, triple in enumerate(asked.triples):
        rival = None if asked.rivals is None else graph.entities.label(int(asked.rivals[number]))
        support, opposition = (float(part) for part in sums.relations[:, :, number].sum(1))
        total = support - opposition
        relations = _shares(sums.relations[:, :, number].numpy(), graph.relations.label, total)
        entities = _shares(sums.entities[:, :, number].numpy(), graph.entities.label, total)
        paths = None
        if sums.paths is not None:
            paths = [_path_share(naming, rows, one, total) for one in sums.paths.sums(number)]
        found.append(
            Traced(
                triple=naming.triple(triple), instead_of=rival, self_influence=own[number], loss=losses[number],
                num_candidates=int(sums.candidates[number]), support=support, opposition=opposition,
                proponents=_supports(naming, sums, number, 1, parts),
                opponents=_supports(naming, sums, number, -1, parts),
                relations=relations, entities=entities if config.by_entity else None, paths=paths,
            )
        )  # fmt: skip
    return found


def distribution_of(sums: Sums) -> Distribution:
    """Over all asked triples; without the empty bins at both ends."""
    filled = np.flatnonzero(sums.sizes.sum(0))
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 1)
    edges = 10 ** (np.arange(first, last + 1) / BINS_A_DECADE - DECADES / 2)
    support, opposition = sums.sizes[:, first:last].tolist()
    return Distribution(edges.tolist(), support, opposition)


def _supports(naming: Naming, sums: Sums, number: int, sign: int, parts: Parts | None) -> Supports:
    scores, rows = sums.lists.listed(number, sign)
    by = None
    if parts is not None:
        by = {name: np.array([part[row][number] for row in rows.tolist()]) for name, part in parts.items()}
    return Supports(naming, rows, scores, by)


def _shares(sums: Float[np.ndarray, "2 n"], label: Callable[[int], str], total: float) -> list[Share]:
    """Largest share first; of those without any influence none."""
    size = sums[0] - sums[1]
    order = np.lexsort((np.arange(len(size)), -size))
    return [
        Share(label(int(i)), float(sums[0, i]), float(sums[1, i]), float(size[i] / total))
        for i in order
        if size[i] > 0
    ]


def _path_share(
    naming: Naming, rows: Int[np.ndarray, " candidates"], found: PathSum, total: float
) -> PathShare:
    def listed(path: Path) -> PathListed:
        triples = [
            Support(naming.row(int(rows[place])), int(rows[place]), score)
            for place, score in zip(path.places, path.scores, strict=True)
        ]
        return PathListed(path.influence, abs(path.influence) / total, triples)

    share = (found.support - found.opposition) / total if total else 0.0
    best, worst = ([listed(path) for path in some] for some in (found.best, found.worst))
    return PathShare(
        found.length, found.num_paths, found.num_triples, found.influence, found.support, found.opposition,
        share, best, worst,
    )  # fmt: skip


def _by_checkpoint(
    influence: Scores, split: np.ndarray, reference: Any, sums: Sums, num_asked: int, names: Sequence[str]
) -> Parts:
    """What each checkpoint adds to the influence of the listed rows on every asked triple."""
    every = [sums.lists.listed(number, sign)[1] for number in range(num_asked) for sign in (1, -1)]
    rows = np.unique(np.concatenate(every))
    found: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
    for start in range(0, len(rows), UNIT):
        some = rows[start : start + UNIT]
        parts = influence.scores_by_checkpoint(np.asarray(split[some]).astype(np.int64), reference)
        for name, part in zip(names, parts, strict=True):
            found[name] |= dict(zip(some.tolist(), part.cpu().numpy(), strict=True))
    return found
