"""What an embedding of a taxonomy is worth: figures that mean something, each with its conditions.

Independent of how the nodes were placed: ranks of withheld ancestors. Not independent, and so to be read beside the
controls: reconstruction, separation of ranks, distortion, and above all the correlation of depth and radius, which a
placement by depth makes 1 before anything is learnt.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from corollary.evaluation.reconstruction import (
    Reconstruction,
    ancestor_lists,
    average_precisions,
    filtered_ranks,
    reconstruct,
)
from corollary.evaluation.taxonomy_metrics import Euclidean, Hyperbolic, Metric, TreeMetric
from corollary.evaluation.withholding import PAIRS, PARENTS, Withheld
from corollary.geometry.hyperbolic import distance
from corollary.graph.taxonomy import Taxonomy
from corollary.randomness import generator

SMALLEST_GROUP = 10
ROWS_AT_ONCE = 16


def reconstruction(metric: Metric, taxonomy: Taxonomy, rows: Int[np.ndarray, " rows"]) -> Reconstruction:
    """Exact ranks; of the tree metric too."""
    if isinstance(metric, Hyperbolic | Euclidean):
        return reconstruct(metric.space, taxonomy, rows)
    ranks, precisions, chain = [], [], []
    for row in rows:
        offsets, targets = ancestor_lists(taxonomy, np.array([row]))
        distances = metric.to_all(np.array([row]))[0]
        others = np.delete(distances, np.append(targets, row))
        own = distances[targets][:, None]
        rank = 1 + (others < own).sum(1) + 0.5 * (others == own).sum(1)
        ranks.append(rank)
        precisions.append(average_precisions(rank, offsets))
        chain.append(taxonomy.is_above(targets, np.full(len(targets), row)))
    rank, on_chain = np.concatenate(ranks), np.concatenate(chain)
    return Reconstruction(
        mean_rank=float(rank.mean()),
        map=float(np.concatenate(precisions).mean()),
        mean_rank_on_chain=float(rank[on_chain].mean()),
        mean_rank_off_chain=None if on_chain.all() else float(rank[~on_chain].mean()),
        median_rank=float(np.median(rank)),
        mrr=float((1 / rank).mean()),
        num_pairs=len(rank),
        num_nodes=len(rows),
    )


def withheld_ranks(
    metric: Hyperbolic | Euclidean, withheld: Withheld, part: str, *, most: int | None = None
) -> dict[str, float]:
    """Ranks of withheld ancestors among all nodes that are no ancestor of the node: MAP, mean rank, MRR, hits."""
    rows, offsets, targets, known_offsets, known = withheld.lists(part, most)
    ranks = filtered_ranks(metric.space, rows, offsets, targets, known_offsets, known)
    return {
        "map": float(average_precisions(ranks, offsets).mean()),
        "mean_rank": float(ranks.mean()),
        "median_rank": float(np.median(ranks)),
        "mrr": float((1 / ranks).mean()),
        "hits@1": float((ranks <= 1).mean()),
        "hits@10": float((ranks <= 10).mean()),
        "pairs": len(ranks),
    }


def large_groups(groups: Int[np.ndarray, " nodes"]) -> Int[np.ndarray, " large"]:
    """Groups of ten nodes and more, which are compared."""
    names, counts = np.unique(groups[groups >= 0], return_counts=True)
    return names[counts >= SMALLEST_GROUP]


def separation(
    metric: Metric, groups: Int[np.ndarray, " nodes"], *, pairs: int = 40_000, seed: int = 0
) -> dict[str, float] | None:
    """How far pairs of one group are apart, and pairs of two; None where fewer than two groups have ten nodes.

    `uniform` draws a group first, then nodes in it; the other draws nodes. On the Gromov product depth is taken out:
    there a pair of one group should have more than a pair of two.
    """
    large = large_groups(groups)
    if len(large) < 2:
        return None
    rng = generator(seed, "separation")
    members = np.flatnonzero(np.isin(groups, large))
    members = members[np.argsort(groups[members], kind="stable")]
    starts = np.searchsorted(groups[members], large)
    sizes = np.diff(np.append(starts, len(members)))

    def inside(group: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
        return members[starts[group] + (rng.random(len(group)) * sizes[group]).astype(int)]

    even = rng.integers(0, len(large), pairs)
    other = (even + rng.integers(1, len(large), pairs)) % len(large)
    weighted = rng.choice(len(large), pairs, p=sizes.astype(float) ** 2 / (sizes.astype(float) ** 2).sum())
    first, second = rng.choice(members, pairs), rng.choice(members, 3 * pairs)[:pairs]
    apart = groups[first] != groups[second]
    ways = {
        "": (inside(weighted), inside(weighted), first[apart], second[apart]),
        "_uniform": (inside(even), inside(even), inside(even), inside(other)),
    }
    figures: dict[str, float] = {"groups": len(large)}
    radii = metric.radii()
    for name, (a, b, c, d) in ways.items():
        distinct = a != b
        a, b = a[distinct], b[distinct]
        within, between = metric.between(a, b), metric.between(c, d)
        figures[f"ratio{name}"] = float(between.mean() / within.mean())
        figures[f"p_distance{name}"] = _probability(between, within)
        shared, apart_shared = 0.5 * (radii[a] + radii[b] - within), 0.5 * (radii[c] + radii[d] - between)
        figures[f"p_gromov{name}"] = _probability(shared, apart_shared)
    return figures


def neighbour_accuracy(
    metric: Metric, groups: Int[np.ndarray, " nodes"], rows: Int[np.ndarray, " rows"], *, neighbours: int = 10
) -> float:
    """Share of nodes whose group is that of most of their nearest neighbours (those that have a group)."""
    candidates = np.flatnonzero(groups >= 0)
    right = asked = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        distances = metric.to_all(part)
        distances[np.arange(len(part)), part] = np.inf
        distances = distances[:, candidates]
        nearest = np.argpartition(distances, neighbours, axis=1)[:, :neighbours]
        for row, near in zip(part, nearest, strict=True):
            if groups[row] < 0:
                continue
            names, counts = np.unique(groups[candidates[near]], return_counts=True)
            right += int(names[counts.argmax()] == groups[row])
            asked += 1
    return right / max(asked, 1)


def against_tree(
    metric: Metric, taxonomy: Taxonomy, *, pairs: int = 40_000, seed: int = 0
) -> dict[str, float]:
    """Rank correlation and mean distortion (after the best scale) against tree distance, on random pairs."""
    rng = generator(seed, "tree pairs")
    first, second = rng.integers(0, len(taxonomy), (2, pairs))
    kept = first != second
    first, second = first[kept], second[kept]
    tree = TreeMetric(taxonomy).between(first, second)
    found = metric.between(first, second)
    scale = float(np.median(found / tree))
    return {
        "spearman_tree": _correlation(_ranked(found), _ranked(tree)),
        "mean_distortion": float(np.abs(found / (scale * tree) - 1).mean()),
    }


def depth_radius(metric: Metric, taxonomy: Taxonomy) -> dict[str, float]:
    """Correlation of depth and radius; in hyperbolic space of depth and norm in the ball too."""
    depth, radii = taxonomy.tree.depth.astype(np.float64), metric.radii()
    found = {"depth_radius": _correlation(radii, depth)}
    if isinstance(metric, Hyperbolic):
        found["depth_norm"] = _correlation(np.tanh(radii / 2), depth)
    return found


def is_a_f1(
    points: Float[np.ndarray, "nodes dim"],
    positives: Int[np.ndarray, "pairs 2"],
    negatives: Int[np.ndarray, "others 2"],
    valid_positives: Int[np.ndarray, "valid 2"],
    valid_negatives: Int[np.ndarray, "valid_others 2"],
) -> dict[str, float]:
    """F1 of "the first is a kind of the second" by `cone_score`, its threshold tuned on validation pairs."""

    def score(pairs: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        return cone_score(points, pairs[:, 0], pairs[:, 1])

    threshold, best = best_threshold(score(valid_positives), score(valid_negatives))
    return {
        "f1": _f1(score(positives), score(negatives), threshold),
        "threshold": threshold,
        "f1_validation": best,
    }


def cone_score(
    points: Float[np.ndarray, "nodes dim"],
    descendants: Int[np.ndarray, " pairs"],
    ancestors: Int[np.ndarray, " pairs"],
) -> Float[np.ndarray, " pairs"]:
    """Lower is more likely an ancestor: distance to the ancestor less distance to the centre.

    Below zero the descendant is nearer to the ancestor than to the centre. For points far out that is a cone at the
    ancestor whose opening shrinks with its radius (see `kernels.taxonomy.caps`), as Ganea et al. (2018) have it in other units.
    """
    away = distance(points[descendants], points[ancestors])
    return away - np.linalg.norm(points[descendants], axis=1)


def best_threshold(
    positive: Float[np.ndarray, " p"], negative: Float[np.ndarray, " n"]
) -> tuple[float, float]:
    """Halfway between the two scores where a cut gives the best F1, and that F1; equal scores are never cut apart.

    Scores that differ by less than 1e-9 are equal: at the centre they are zero but for rounding.
    """
    scores = np.round(np.concatenate([positive, negative]), 9)
    truth = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    order = np.argsort(scores, kind="stable")
    scores = scores[order]
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + len(positive))
    ends = np.flatnonzero(np.append(scores[1:] > scores[:-1], True))
    best = int(ends[f1[ends].argmax()])
    after = scores[best + 1] if best + 1 < len(scores) else scores[best] + 1.0
    return float((scores[best] + after) / 2), float(f1[best])


def _f1(positive: Float[np.ndarray, " p"], negative: Float[np.ndarray, " n"], threshold: float) -> float:
    hits, wrong = (positive <= threshold).sum(), (negative <= threshold).sum()
    return float(2 * hits / (hits + wrong + len(positive)))


def _probability(larger: Float[np.ndarray, " a"], smaller: Float[np.ndarray, " b"]) -> float:
    """That a draw of the first is above a draw of the second; ties count half."""
    order = np.sort(smaller)
    below = np.searchsorted(order, larger, "left") + np.searchsorted(order, larger, "right")
    return float(below.mean() / 2 / len(order))


def _ranked(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Ranks; ties get their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _correlation(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def all_figures(
    metric: Metric,
    taxonomy: Taxonomy,
    rows: Int[np.ndarray, " rows"],
    groups: Mapping[str, Int[np.ndarray, " nodes"]],
    withheld: Withheld | None,
    asked: Int[np.ndarray, " asked"],
) -> dict[str, Any]:
    """Every figure of one metric.

    Args:
        taxonomy: with all its pairs; rows of the metric are its rows.
        rows: for reconstruction.
        groups: see `groups_of_rank`, by the rank's name.
        asked: rows whose nearest neighbours are looked at, beside those that were withheld for it.
    """
    found: dict[str, Any] = {"reconstruction": reconstruction(metric, taxonomy, rows).as_dict()}
    if withheld is not None and isinstance(metric, Hyperbolic | Euclidean):
        names = {PAIRS: "withheld_pairs", PARENTS: "leaf_attachment"}
        found |= {
            names[part]: withheld_ranks(metric, withheld, part) for part in names if part in withheld.parts
        }
    found["separation"] = {name: separation(metric, group) for name, group in groups.items()}
    found["neighbour_accuracy"] = {
        name: neighbour_accuracy(metric, group, asked) for name, group in groups.items()
    }
    if withheld is not None:
        found["neighbour_accuracy_withheld"] = {
            name: neighbour_accuracy(metric, group, withheld.rows(name)[: len(asked)])
            for name, group in groups.items()
            if name in withheld.parts
        }
    return {**found, **against_tree(metric, taxonomy), **depth_radius(metric, taxonomy)}
