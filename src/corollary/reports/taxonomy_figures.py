"""Figures of an embedded taxonomy beside its controls, as a report shows them."""

from collections.abc import Mapping
from typing import Any

from corollary.reports.values import ABSENT, dig, figure, finite

CONTROLS = {
    "run": "this run",
    "untrained": "placed, untrained",
    "random": "random directions",
    "euclidean": "straight distances",
    "tree": "links themselves",
}
_FIGURES = {
    "MAP of ancestors": ("reconstruction", "map"),
    "mean rank of ancestors": ("reconstruction", "mean_rank"),
    "withheld pairs, MRR": ("withheld_pairs", "mrr"),
    "withheld pairs, hits@10": ("withheld_pairs", "hits@10"),
    "parents of leaves, MRR": ("leaf_attachment", "mrr"),
    "parents of leaves, hits@10": ("leaf_attachment", "hits@10"),
    "is-a, F1": ("is_a", "f1"),
    "rank correlation with tree distance": ("spearman_tree",),
    "correlation of depth and radius": ("depth_radius",),
}
_BY_RANK = {
    "between farther than within, Gromov product": "p_gromov",
    "ratio between to within, groups drawn evenly": "ratio_uniform",
}


def taxonomy_figures(record: Any) -> dict[str, Any] | None:
    """Rows of figures for the columns that `taxonomy.json` holds; None where there is no such record."""
    figures = dig(record, "figures")
    if not isinstance(figures, Mapping):
        return None
    shown = [name for name in CONTROLS if name in figures]
    ranks = list(dig(figures, "run", "separation") or {})
    paths = dict(_FIGURES)
    for rank in ranks:
        paths |= {f"{rank}: {what}": ("separation", rank, key) for what, key in _BY_RANK.items()}
    rows = [
        {"name": name, "cells": [figure(finite(figures, control, *path)) for control in shown]}
        for name, path in paths.items()
    ]
    nodes = finite(record, "conditions", "reconstruction_nodes")
    return {
        "columns": [CONTROLS[name] for name in shown],
        "rows": [row for row in rows if set(row["cells"]) != {ABSENT}],
        "nodes": nodes,
    }
