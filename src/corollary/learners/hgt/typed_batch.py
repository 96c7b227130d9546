"""Batches as other programs take them: plain tensors by node type and by edge type, and PyG's `HeteroData`."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt
from torch import Tensor

from corollary.errors import MissingExtra
from corollary.graph.typed_links import EdgeType, TypedLinks
from corollary.learners.hgt.questions import Asked, Links

EdgeName = tuple[str, str, str]
"""Source type, relation, target type. Messages against a relation's direction are called `rev_RELATION`."""


@dataclass(frozen=True)
class TypedBatch:
    """What messages of one batch go over, and what is asked of them. Edges name nodes by their place in `nodes`."""

    nodes: dict[str, Int[Tensor, " nodes"]]
    """Entity ids, by type."""
    edges: dict[EdgeName, Int[Tensor, "2 edges"]]
    """Messages: places of their sources, and of their targets."""
    asked: dict[EdgeName, Int[Tensor, "2 asked"]]
    """Training triples to be predicted, by places of head and tail. None of them is a message, nor is its reverse."""

    def to_pyg(self) -> Any:
        """The same as PyG's `HeteroData`: `n_id` of nodes, `edge_index` of messages, `edge_label_index` of what is asked.

        Raises `MissingExtra` without PyG.
        """
        try:
            hetero_data = import_module("torch_geometric.data").HeteroData
        except ImportError:
            raise MissingExtra("HeteroData needs PyG: pip install torch-geometric") from None
        data = hetero_data()
        for name, entity_ids in self.nodes.items():
            data[name].n_id, data[name].num_nodes = entity_ids, len(entity_ids)
        for edge, index in self.edges.items():
            data[edge].edge_index = index
        for edge, index in self.asked.items():
            data[edge].edge_label_index = index
        return data


def typed_batch(batch: Asked, links: Links) -> TypedBatch:
    """A batch of training by type. Memory: 16 bytes a message."""
    nodes, labels = batch.links.nodes, list(links.graph.relations.labels)
    rows = np.arange(len(nodes)) if batch.rows is None else batch.rows.numpy()
    entities = links.nodes.order[rows].astype(np.int64)
    ends = [np.searchsorted(rows, side[batch.triples]) for side in (links.heads, links.tails)]
    kinds = [nodes.types_of(side) for side in ends]
    relations, asked = links.relations[batch.triples], {}
    for kind in sorted(set(zip(kinds[0].tolist(), relations.tolist(), kinds[1].tolist(), strict=True))):
        own = (kinds[0] == kind[0]) & (relations == kind[1]) & (kinds[1] == kind[2])
        edge = EdgeType(*kind)
        asked[_name(edge, nodes.names, labels)] = _within(edge, nodes.starts, *(side[own] for side in ends))
    return TypedBatch(
        {
            name: torch.from_numpy(entities[nodes.starts[kind] : nodes.starts[kind + 1]])
            for kind, name in enumerate(nodes.names)
        },
        messages_by_type(batch.links, labels, batch.removed),
        asked,
    )


def messages_by_type(
    links: TypedLinks, relations: Sequence[str], removed: UInt[np.ndarray, " triples"] | None = None
) -> dict[EdgeName, Int[Tensor, "2 edges"]]:
    """Messages of some links, in both directions.

    Args:
        relations: labels.
        removed: 1 for a triple that carries no message.
    """
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for number, (_, block) in enumerate(links.nodes.blocks(links.block_rows)):
        for segment in links.segments(number):
            where = slice(int(segment.bounds[0]), int(segment.bounds[-1]))
            target = np.repeat(segment.rows.astype(np.int64) + block.start, np.diff(segment.bounds))
            source = links.sources[where].astype(np.int64)
            if removed is not None:
                kept = removed[links.edges[where]] == 0
                source, target = source[kept], target[kept]
            found.setdefault(segment.kind, []).append((source, target))
    edges = {}
    for kind, parts in found.items():
        edge = links.edge_types[kind]
        source, target = (np.concatenate(side) for side in zip(*parts, strict=True))
        name = _name(edge, links.nodes.names, relations)
        edges[name] = _within(edge, links.nodes.starts, source, target)
    return edges


def _name(edge: EdgeType, types: Sequence[str], relations: Sequence[str]) -> EdgeName:
    backwards = "rev_" if edge.relation >= len(relations) else ""
    return types[edge.source], backwards + relations[edge.relation % len(relations)], types[edge.target]


def _within(
    edge: EdgeType,
    starts: Int[np.ndarray, " bounds"],
    source: Int[np.ndarray, " edges"],
    target: Int[np.ndarray, " edges"],
) -> Int[Tensor, "2 edges"]:
    """Places within their types, of rows."""
    return torch.from_numpy(np.stack([source - starts[edge.source], target - starts[edge.target]]))
