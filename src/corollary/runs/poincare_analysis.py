"""`analyze-taxonomy`: every figure of a run beside the same figure of four controls.

untrained   the placement that training began with
random      random directions, with radii by depth
euclidean   the same pairs, negatives and passes with straight distances in as many dimensions, the best of three rates
tree        the number of links in the spanning tree
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from corollary.errors import GraphError, UnknownName, unknown
from corollary.evaluation import taxonomy_analysis as analysis
from corollary.evaluation.reconstruction import Space, reconstruct, sample_rows
from corollary.evaluation.taxonomy_metrics import Euclidean, Hyperbolic, Metric, TreeMetric
from corollary.geometry.placement import depth_start, place
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels.euclidean import euclidean_pass
from corollary.messages import Say, silent
from corollary.randomness import generator, philox
from corollary.runs.poincare import Embedded, PoincareRunConfig
from corollary.runs.run import Run

CONTROLS = ("untrained", "random", "euclidean", "tree")
EUCLIDEAN_RATES = (0.05, 0.2, 0.8)
_TREE_ROWS, _ASKED = 200, 500
_FEWEST_MEMBERS = 10


@dataclass(frozen=True)
class Analysis:
    """Figures by metric: `run`, then the controls."""

    figures: Mapping[str, Mapping[str, Any]]
    conditions: Mapping[str, Any]

    def to_pandas(self) -> pd.DataFrame:
        """One line a figure, one column a metric."""
        return pd.DataFrame({name: _flat(values) for name, values in self.figures.items()})


def analyze(
    run: Run,
    *,
    sample: int | None = None,
    ranks: tuple[str, ...] = (),
    controls: tuple[str, ...] = CONTROLS,
    say: Say = silent,
) -> Analysis:
    """Measure a run and its controls; the result is written to the run folder as `taxonomy.json`.

    Args:
        sample: nodes whose ancestors are ranked, a fixed random sample; all when not given. The tree metric is asked
            for 200 of them.
        ranks: types of nodes whose groups are compared; those with at least two groups of ten when not given, at
            most six.

    Memory: three times the embedding. Time: the Euclidean control trains three times as long as the run.
    """
    for control in controls:
        if control not in CONTROLS:
            raise UnknownName(unknown("control", control, list(CONTROLS)))
    embedded = Embedded.of(run)
    full, rows = embedded.full, sample_rows(embedded.full, sample)
    groups = _groups(embedded, full, ranks)
    asked = generator(0, "asked").choice(len(full), min(_ASKED, len(full)), replace=False)
    figures: dict[str, dict[str, Any]] = {}
    for name in ("run", *controls):
        say(f"measuring {name}")
        metric = _metric(embedded, name, say)
        some = rows if name != "tree" else sample_rows(full, min(len(rows), _TREE_ROWS))
        moved = _moved(metric, embedded, full)
        figures[name] = analysis.all_figures(moved, full, some, groups, None, asked)
        if embedded.withheld is not None and not isinstance(metric, TreeMetric):
            figures[name]["withheld"] = analysis.withheld_ranks(metric, embedded.withheld)
        if isinstance(metric, Hyperbolic):
            figures[name]["is_a"] = _is_a(embedded, metric, full)
    conditions = {
        "reconstruction_nodes": len(rows),
        "tree_nodes": min(len(rows), _TREE_ROWS),
        "neighbour_nodes": len(asked),
        "ties": "half",
        "separation_pairs": 40_000,
        "groups_of_at_least": analysis.SMALLEST_GROUP,
        "withheld_pairs": 0 if embedded.withheld is None else len(embedded.withheld.pairs),
    }
    run.folder.write_json("taxonomy.json", {"figures": figures, "conditions": conditions})
    return Analysis(figures, conditions)


def draw(embedded: Embedded, path: Path, rank: str | None) -> None:
    """The disk, coloured by one rank: the one with most groups of ten when not given."""
    from corollary.reports.taxonomy import draw_disk

    taxonomy = embedded.taxonomy
    found = _groups(embedded, taxonomy, (rank,) if rank else ())
    chosen = next(iter(found), None)
    groups = found[chosen] if chosen is not None else np.full(len(taxonomy), -1)
    title = f"{embedded.graph.name}{f', coloured by {chosen}' if chosen else ''}"
    draw_disk(path, embedded.points, taxonomy.tree.parent, groups, embedded.names, title=title)


def neighbours(embedded: Embedded, text: str, count: int) -> list[dict[str, Any]]:
    """The nearest nodes to one, by label or name: label, name, distance, depth."""
    row = embedded.find(text)
    found = Hyperbolic(embedded.points).to_all(np.array([row]))[0]
    found[row] = np.inf
    nearest = np.argsort(found, kind="stable")[:count]
    return [_line(embedded, int(other), float(found[other])) for other in nearest]


def ancestors(embedded: Embedded, text: str, count: int) -> list[dict[str, Any]]:
    """The nodes that the embedding takes for ancestors: nearer to the centre, by distance; and whether they are."""
    row = embedded.find(text)
    radii = np.linalg.norm(embedded.points, axis=1)
    found = Hyperbolic(embedded.points).to_all(np.array([row]))[0]
    found[radii >= radii[row]] = np.inf
    true = set(embedded.full.ancestors(int(embedded.full.rows[embedded.taxonomy.entity_ids[row]])).tolist())
    lines = []
    for other in np.argsort(found, kind="stable")[:count]:
        if np.isfinite(found[other]):
            place = int(embedded.full.rows[embedded.taxonomy.entity_ids[other]])
            lines.append({**_line(embedded, int(other), float(found[other])), "true": place in true})
    return lines


def _line(embedded: Embedded, row: int, away: float) -> dict[str, Any]:
    entity, entities = int(embedded.taxonomy.entity_ids[row]), embedded.graph.entities
    return {
        "label": entities.label(entity),
        "name": entities.name(entity),
        "distance": away,
        "depth": int(embedded.taxonomy.tree.depth[row]),
    }


def _groups(
    embedded: Embedded, full: Taxonomy, ranks: tuple[str, ...]
) -> dict[str, Int[np.ndarray, " nodes"]]:
    """Groups of every rank, highest rank first. Raises `GraphError` where ranks are asked for and the graph has none."""
    types, names = embedded.graph.types, embedded.graph.info.node_types
    if types is None:
        if ranks:
            raise GraphError(
                f"graph {embedded.graph.name} has no ranks: import the taxonomy with a rank column"
            )
        return {}
    for rank in ranks:
        if rank not in names:
            raise UnknownName(unknown("rank", rank, names, where=str(embedded.graph.path)))
    found = {}
    for rank in ranks or names:
        groups = analysis.groups_of_rank(full, types, names.index(rank))
        counts = np.unique(groups[groups >= 0], return_counts=True)[1]
        if ranks or (counts >= _FEWEST_MEMBERS).sum() >= 2:
            found[rank] = groups
    if ranks:
        return found
    order = sorted(found, key=lambda rank: -(found[rank] >= 0).sum())[:6]
    return {rank: found[rank] for rank in order}


def _metric(embedded: Embedded, name: str, say: Say) -> Metric:
    """The run or a control, over the rows of the taxonomy that was trained on."""
    options, taxonomy = embedded.options, embedded.taxonomy
    model = options.model
    if name == "run":
        return Hyperbolic(embedded.points)
    if name == "untrained":
        return Hyperbolic(place(taxonomy, model.dim, model.placement, seed=options.seed))
    if name == "random":
        return Hyperbolic(depth_start(taxonomy, model.dim, model.placement, seed=options.seed))
    if name == "tree":
        return TreeMetric(embedded.full)
    rows = sample_rows(taxonomy, options.evaluation.sample)
    tried = {}
    for rate in EUCLIDEAN_RATES:
        points = euclidean_control(options, taxonomy, rate)
        tried[rate] = reconstruct(Space.euclidean(points), taxonomy, rows).map, points
        say(f"euclidean control, rate {rate:g}: MAP {tried[rate][0]:.4f}")
    return Euclidean(max(tried.values(), key=lambda found: found[0])[1])


def euclidean_control(
    options: PoincareRunConfig, taxonomy: Taxonomy, rate: float, epochs: int | None = None
) -> Float[np.ndarray, "nodes dim"]:
    """Train straight distances as the run trained hyperbolic ones; from a small random start."""
    model = options.model
    repeated = taxonomy.repeating(model.off_chain)
    points = 0.01 * generator(options.seed, "euclidean").standard_normal((len(taxonomy), model.dim))
    squares = np.zeros(len(taxonomy))
    weights, quotas = taxonomy.degree_weights(model.negatives.degree_power), model.negatives.quotas()
    count = repeated.num_pairs + len(repeated.tree.extra_pairs)
    for epoch in range(epochs or options.training.epochs):
        key = np.uint64(philox(options.seed, "euclidean pairs", epoch).random_raw())
        euclidean_pass(
            points,
            squares,
            repeated.tree,
            weights,
            quotas,
            0,
            count,
            key,
            rate,
            model.smallest_share,
            model.threads,
        )
    return points


def _moved(metric: Metric, embedded: Embedded, full: Taxonomy) -> Metric:
    """The same places over the rows of the whole taxonomy."""
    if isinstance(metric, TreeMetric):
        return metric
    points = metric.points[embedded.taxonomy.rows[full.entity_ids]]  # type: ignore[attr-defined]
    return type(metric)(points)  # type: ignore[call-arg]


def _is_a(embedded: Embedded, metric: Hyperbolic, full: Taxonomy) -> dict[str, float]:
    """F1 on ancestor pairs against ten corrupted ones each: withheld pairs where there are some."""
    rng = generator(0, "is a")
    if embedded.withheld is not None:
        ids = embedded.taxonomy.entity_ids[embedded.withheld.pairs]
        pairs = full.rows[ids].astype(np.int64)
        pairs = pairs[rng.permutation(len(pairs))[:20_000]]
    else:
        pairs = full.pairs(rng.integers(0, full.num_pairs, min(20_000, full.num_pairs)))
    others = corrupted(full, pairs, 10, rng)
    half, tenfold = len(pairs) // 2, 10 * (len(pairs) // 2)
    points = metric.points[embedded.taxonomy.rows[full.entity_ids]]
    return analysis.is_a_f1(points, pairs[half:], others[tenfold:], pairs[:half], others[:tenfold])


def corrupted(
    taxonomy: Taxonomy, pairs: Int[np.ndarray, "pairs 2"], times: int, rng: np.random.Generator
) -> Int[np.ndarray, "others 2"]:
    """Pairs with one end replaced at random, none of them true: half of them at each end."""
    others = np.repeat(pairs, times, axis=0)
    end = np.arange(len(others)) % 2
    wrong = np.ones(len(others), bool)
    codes = (
        None
        if taxonomy.is_tree
        else np.unique(_codes(taxonomy, taxonomy.pairs(np.arange(taxonomy.num_pairs))))
    )
    while wrong.any():
        at = np.flatnonzero(wrong)
        others[at, end[at]] = rng.integers(0, len(taxonomy), len(at))
        row, above = others[at].T
        true = (
            taxonomy.is_above(above, row) if codes is None else np.isin(_codes(taxonomy, others[at]), codes)
        )
        wrong[at] = true | (row == above)
    return others


def _codes(taxonomy: Taxonomy, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, " pairs"]:
    return pairs[:, 0] * len(taxonomy) + pairs[:, 1]


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name} ")
        elif value is not None:
            found[f"{before}{name}"] = value
    return found
