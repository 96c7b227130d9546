"""What a typed graph may have wrong, found and named before a training."""

import numpy as np

from corollary.graph.folder import Graph
from corollary.messages import Say

# A pair of types looks like a mistake below this share of a relation's edges, or with so few edges of a relation that has
# enough of them to tell.
_STRAY_SHARE, _STRAY_EDGES, _ENOUGH_EDGES = 0.02, 3, 30
_SHOWN = 5


def check_types(graph: Graph, say: Say) -> None:
    """Say which node types have no edges, and which edges link types that their relation hardly ever links."""
    if graph.types is None:
        say(f"{graph.name} has no node types: all nodes are of one type")
        return
    kinds, names = np.asarray(graph.types), [*graph.info.node_types, "untyped"]
    head, _, tail = np.asarray(graph.triples("train")).T
    degree = np.bincount(head, minlength=graph.num_entities) + np.bincount(tail, minlength=graph.num_entities)
    for kind in np.unique(kinds).tolist():
        rows = kinds == kind
        alone = int((degree[rows] == 0).sum())
        if alone == rows.sum():
            say(f"note: no node of type {names[kind]} has an edge: their embeddings are not trained")
        elif alone:
            say(f"note: {alone:,} of {rows.sum():,} nodes of type {names[kind]} have no edge")
    _say_stray(graph, kinds, names, say)


def _say_stray(graph: Graph, kinds: np.ndarray, names: list[str], say: Say) -> None:
    triples = np.asarray(graph.triples("train"))
    count = len(names)
    code = kinds[triples[:, 0]].astype(np.int64) % count * count + kinds[triples[:, 2]] % count
    key = triples[:, 1].astype(np.int64) * count**2 + code
    found, first, numbers = np.unique(key, return_index=True, return_counts=True)
    totals = np.bincount(triples[:, 1], minlength=graph.num_relations)
    of = totals[found // count**2]
    share = numbers / of
    stray = np.flatnonzero((share < _STRAY_SHARE) | ((numbers <= _STRAY_EDGES) & (of >= _ENOUGH_EDGES)))
    stray = stray[np.argsort(share[stray], kind="stable")]
    for place in stray[:_SHOWN].tolist():
        relation, ends = divmod(int(found[place]), count**2)
        h, r, t = (int(part) for part in triples[first[place]])
        say(
            f"note: {numbers[place]:,} of {totals[relation]:,} edges of {graph.relations.label(r)} go from "
            f"{names[ends // count]} to {names[ends % count]}, such as {graph.entities.label(h)} -> "
            f"{graph.entities.label(t)}: are these ends right?"
        )
    if len(stray) > _SHOWN:
        say(f"note: and {len(stray) - _SHOWN} more such pairs of types")
