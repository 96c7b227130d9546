"""`analyze-taxonomy`: every figure of a run beside the same figure of four controls (see `controls`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from corollary.budget import Plan, resident_bytes
from corollary.errors import UnknownName, unknown
from corollary.evaluation import taxonomy_analysis as analysis
from corollary.evaluation.reconstruction import sample_rows
from corollary.evaluation.taxonomy_metrics import Euclidean, Hyperbolic, Metric
from corollary.evaluation.withholding import PAIRS
from corollary.graph.taxonomy import Taxonomy
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.runs.poincare.controls import CONTROLS, metric_of
from corollary.runs.poincare.kind import KIND, Embedded, options_of, rank_groups
from corollary.runs.run import Run

_TREE_ROWS, _ASKED, _TRIES = 200, 500, 64
_NESTED = 20  # a rank has less than one node in so many right below another of it


@dataclass(frozen=True)
class Analysis:
    """Figures by metric: `run`, then the controls."""

    figures: Mapping[str, Mapping[str, Any]]
    conditions: Mapping[str, Any]

    def to_pandas(self) -> pd.DataFrame:
        """One line a figure, one column a metric."""
        return pd.DataFrame({name: _flat(values) for name, values in self.figures.items()})


def analyze_taxonomy(
    run: Run,
    *,
    sample: int | None = None,
    ranks: tuple[str, ...] = (),
    controls: tuple[str, ...] = CONTROLS,
    say: Say = silent,
) -> Analysis:
    """Measure a run and its controls; the result is written to the run folder, as `taxonomy.json` and in its report.

    Args:
        sample: nodes whose ancestors are ranked, a fixed random sample; all when not given. The tree metric is asked
            for 200 of them.
        ranks: types of nodes whose groups are compared; see `groups_of` when not given.

    Memory: checked against the run's limit before any work; see `analysis_plan`. Time: the Euclidean control is
    trained for up to 20 epochs.
    """
    for control in controls:
        if control not in CONTROLS:
            raise UnknownName(unknown("control", control, list(CONTROLS)))
    analysis_plan(run)
    embedded = Embedded.of(run)
    full, rows = embedded.full, sample_rows(embedded.full, sample)
    groups = groups_of(embedded, full, ranks)
    asked = generator(0, "asked").choice(len(full), min(_ASKED, len(full)), replace=False)
    figures: dict[str, dict[str, Any]] = {}
    for name in ("run", *controls):
        say(f"measuring {name}")
        metric = metric_of(embedded, name, say)
        some = rows if name != "tree" else sample_rows(full, min(len(rows), _TREE_ROWS))
        moved = _moved(metric, embedded)
        figures[name] = analysis.all_figures(moved, full, some, groups, embedded.withheld, asked)
        if isinstance(moved, Hyperbolic):
            figures[name]["is_a"] = _is_a(embedded, moved, full)
    conditions = {
        "reconstruction_nodes": len(rows),
        "tree_nodes": min(len(rows), _TREE_ROWS),
        "neighbour_nodes": len(asked),
        "ties": "half",
        "separation_pairs": 40_000,
        "groups_of_at_least": analysis.SMALLEST_GROUP,
        "withheld": {name: len(part) for name, part in _parts(embedded).items()},
    }
    run.folder.write_json("taxonomy.json", {"figures": figures, "conditions": conditions})
    from corollary.reports.html import write_report  # matplotlib is 30 MiB that measuring does without

    write_report(run.folder)
    return Analysis(figures, conditions)


def analysis_plan(run: Run) -> Plan:
    """Bytes by part. Raises `PlanDoesNotFit` where the run's memory limit is smaller."""
    options = options_of(run)
    nodes, dim = run.graph.num_entities, options.model.dim
    index = KIND.plan(run.graph, options.model_copy(update={"memory_limit": None}), loaded=0)
    parts = {
        "this process": resident_bytes(),
        "index and embedding": index.total,
        "spaces and controls": 8 * nodes * (6 * dim + 8),
        "distances of some nodes to all": 8 * nodes * 2 * analysis.ROWS_AT_ONCE,
    }
    plan = Plan(parts=parts, block_rows=1, evaluation_chunk=analysis.ROWS_AT_ONCE, budget=run.budget)
    return plan.check(f"measuring poincare on {run.graph.name}")


def groups_of(
    embedded: Embedded, taxonomy: Taxonomy, ranks: tuple[str, ...]
) -> dict[str, Int[np.ndarray, " nodes"]]:
    """Groups of every rank: of those asked for and withheld, else of the six that hold most nodes.

    A type whose nodes lie below one another is no rank. Where all are so (WordNet's files of lexicographers) the types
    themselves are the groups.
    """
    graph = embedded.graph
    wanted = dict.fromkeys([*ranks, *embedded.options.model.held_out_ranks])
    if wanted or graph.types is None:
        return {rank: rank_groups(taxonomy, graph, rank) for rank in wanted}
    own = np.asarray(graph.types)[taxonomy.entity_ids]
    has_parent = taxonomy.tree.parent >= 0
    nested = own[has_parent] == own[taxonomy.tree.parent[has_parent]]
    found = {}
    for number, rank in enumerate(graph.info.node_types):
        if (own == number).sum() > _NESTED * nested[own[has_parent] == number].sum():
            groups = rank_groups(taxonomy, graph, rank)
            if len(analysis.large_groups(groups)) >= 2:
                found[rank] = groups
    if not found and len(analysis.large_groups(own)) >= 2:
        return {"type": own.astype(np.int64)}
    return {rank: found[rank] for rank in sorted(found, key=lambda rank: -(found[rank] >= 0).sum())[:6]}


def _parts(embedded: Embedded) -> Mapping[str, Int[np.ndarray, "pairs 2"]]:
    return {} if embedded.withheld is None else embedded.withheld.parts


def _moved(metric: Metric, embedded: Embedded) -> Metric:
    """The same places over the rows of the whole taxonomy."""
    if embedded.withheld is None or not isinstance(metric, Hyperbolic | Euclidean):
        return metric
    return type(metric)(embedded.withheld.moved(metric.points))


def _is_a(embedded: Embedded, metric: Hyperbolic, full: Taxonomy) -> dict[str, float]:
    """F1 on ancestor pairs against ten corrupted ones each: withheld pairs where there are some."""
    rng = generator(0, "is a")
    pairs = _parts(embedded).get(PAIRS)
    if pairs is not None:
        pairs = pairs[rng.permutation(len(pairs))[:20_000]]
    else:
        pairs = full.pairs(rng.integers(0, full.num_pairs, min(20_000, full.num_pairs)))
    half = len(pairs) // 2
    valid, test = pairs[:half], pairs[half:]
    wrong_valid, wrong_test = corrupted(full, valid, 10, rng), corrupted(full, test, 10, rng)
    return analysis.is_a_f1(metric.points, test, wrong_test, valid, wrong_valid)


def corrupted(
    taxonomy: Taxonomy, pairs: Int[np.ndarray, "pairs 2"], times: int, rng: np.random.Generator
) -> Int[np.ndarray, "others 2"]:
    """Pairs with one end replaced at random, none of them true: half of them at each end where that can be.

    All nodes are below the root, so that end is left and the other one replaced. What is still true after 64 tries
    (in a taxonomy that is nearly a chain) is left out.
    """
    others = np.repeat(pairs, times, axis=0)
    end = np.arange(len(others)) % 2
    every = taxonomy.pairs(np.arange(0 if taxonomy.is_tree else taxonomy.num_pairs))
    codes = np.sort(_codes(taxonomy, every))
    wrong = np.arange(len(others))
    for _ in range(_TRIES):
        others[wrong] = np.repeat(pairs, times, axis=0)[wrong]
        others[wrong, end[wrong]] = rng.integers(0, len(taxonomy), len(wrong))
        row, above = others[wrong].T
        if taxonomy.is_tree:
            true = taxonomy.is_above(above, row)
        else:
            own = _codes(taxonomy, others[wrong])
            true = codes[np.minimum(np.searchsorted(codes, own), len(codes) - 1)] == own
        wrong = wrong[true | (row == above)]
        end[wrong] ^= 1
        if len(wrong) == 0:
            break
    return np.delete(others, wrong, axis=0)


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
