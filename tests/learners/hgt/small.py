"""A small typed graph, and a small HGT on it."""

import numpy as np

from corollary.graph.folder import Graph, write_graph
from corollary.graph.typed_links import TypedLinks
from corollary.learners.hgt.config import HgtConfig, LinksConfig
from corollary.learners.hgt.model import Hgt

TYPES = ["drug", "gene", "disease"]
RELATIONS = ["treats", "palliates", "binds", "associates", "resembles"]
WAYS = {
    "edges": {"name": "edges", "edge_sample_size": 25, "batches": 6},
    "neighbors": {"name": "neighbors", "num_neighbors": (3, 2), "node_batch_size": 30, "batches": 6},
    "budget": {"name": "budget", "width": 2, "rounds": 2, "node_batch_size": 10, "batches": 6},
}
"""Small parts, by way of sampling."""
_ENDS = {0: (0, 2), 1: (0, 2), 2: (0, 1), 3: (2, 1), 4: (2, 2)}


def typed_graph(path, seed=0) -> Graph:
    """40 nodes of 3 types in mixed order, 5 relations between fixed types, 300 triples; 30 of `treats` are held out.

    Half of the treated pairs are palliated too, in both cases as train triples, so that parallel edges are there to be
    hidden.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.repeat([0, 1, 2], [14, 14, 12]))
    of_kind = [np.flatnonzero(kinds == kind) for kind in range(3)]
    rows = set()
    for relation, (source, target) in _ENDS.items():
        pairs = rng.permutation(len(of_kind[source]) * len(of_kind[target]))[:60]
        ends = divmod(pairs, len(of_kind[target]))
        rows |= {(of_kind[source][h], relation, of_kind[target][t]) for h, t in zip(*ends, strict=True)}
    treats = sorted(row for row in rows if row[1] == 0)
    rows |= {(h, 1, t) for h, _, t in treats[:30]}
    held = {treats[i] for i in rng.permutation(len(treats))[:30]}
    train = np.array(sorted(rows - held))
    held_rows = np.array(sorted(held))
    return write_graph(
        path,
        name="typed",
        labels=[f"n{i:02d}" for i in range(40)],
        relations=RELATIONS,
        triples={"train": train, "valid": held_rows[:10], "test": held_rows[10:]},
        types=[TYPES[kind] for kind in kinds],
    )


def small_hgt(graph, *, convolution="hgt", seed=0, asks=None, storage=None, **model) -> Hgt:
    shape = {"hidden_dim": 12, "embedding_dim": 8, "attn": 3, "dropout": 0.0, **model}
    config = HgtConfig.build({"convolution": convolution, **shape})
    made = Hgt(config, TypedLinks.of(graph), num_relations=graph.num_relations, seed=seed, storage=storage)
    return made.asks(graph, LinksConfig.build({"folds": 4, **(asks or {})}))
