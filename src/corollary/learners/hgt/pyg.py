"""Parts of a graph as PyG's `HeteroData`, where PyG is installed."""

from importlib import import_module
from typing import Any

import numpy as np
import torch

from corollary.errors import MissingExtra
from corollary.graph.typed_links import TypedLinks


def to_pyg(links: TypedLinks, rows: np.ndarray, num_relations: int, relations: list[str]) -> Any:
    """Nodes by type with `n_id` (rows of the whole graph), edges by (source type, relation, target type).

    Messages against a relation's direction are called `rev_RELATION`.

    Args:
        rows: of the whole graph, for every node of the part.

    Raises `MissingExtra` without PyG.
    """
    try:
        hetero_data = import_module("torch_geometric.data").HeteroData
    except ImportError:
        raise MissingExtra("HeteroData needs PyG: pip install torch-geometric") from None
    data, nodes = hetero_data(), links.nodes
    for kind, name in enumerate(nodes.names):
        own = rows[nodes.starts[kind] : nodes.starts[kind + 1]]
        data[name].n_id = torch.from_numpy(own.astype(np.int64))
    found: dict[int, list[np.ndarray]] = {}
    for number, (_, block) in enumerate(nodes.blocks(links.block_rows)):
        for segment in links.segments(number):
            where = slice(int(segment.bounds[0]), int(segment.bounds[-1]))
            target = np.repeat(segment.rows.astype(np.int64) + block.start, np.diff(segment.bounds))
            source = links.sources[where].astype(np.int64)
            found.setdefault(segment.kind, []).append(np.stack([source, target]))
    for kind, pairs in found.items():
        edge = links.edge_types[kind]
        prefix = "rev_" if edge.relation >= num_relations else ""
        name = prefix + relations[edge.relation % num_relations]
        first = np.array([[nodes.starts[edge.source]], [nodes.starts[edge.target]]])
        index = torch.from_numpy(np.concatenate(pairs, 1) - first)
        data[nodes.names[edge.source], name, nodes.names[edge.target]].edge_index = index
    return data
