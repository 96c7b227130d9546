"""Bytes of training and of using an HGT, by part.

Nothing grows with edges x width, so there is one way and no choice of chunks: what a smaller limit could trade for time
is not there. With C = 4 * rows * hidden_dim, a backward pass through layer l of L holds (2l - 1) C of kept inputs and
messages (one more where inputs are dropped), and 5 C of its own: the gradient, and for hgt keys, values and their gradients.
"""

from dataclasses import dataclass

from corollary.graph.folder import GraphSize
from corollary.graph.typed_links import BLOCK_ROWS
from corollary.learners.hgt.config import HgtConfig, LinksConfig, SamplingConfig
from corollary.learners.hgt.decoder import SCORES
from corollary.learners.row_storage import WINDOW_BYTES

_LINK_BYTES = 28  # an edge and direction: source, number of the triple, rows that edges end at, bounds
_BUILD_BYTES = 64  # an edge and direction, while they are sorted (measured)
_TRIPLE_BYTES = 18  # ends and relation as rows, pair, a hidden mask
_FOLD_BYTES = 34  # a triple, while a fold is drawn: hashes and masks
_BLOCK_ARRAYS = 14
_SCORE_ARRAYS = 5


@dataclass(frozen=True)
class Sizes:
    """What a plan is made of."""

    graph: GraphSize
    types: int
    edge_types: int
    """At most; a relation and direction has one for every pair of types it links."""
    rows_by_type: tuple[int, ...] = ()
    messages_by_type: tuple[tuple[int, int, int], ...] = ()
    """Source type, target type and number of messages of every edge type."""


def weights(config: HgtConfig, sizes: Sizes) -> int:
    """Numbers in all weights but the input embeddings."""
    width, out, directed = config.hidden_dim, config.embedding_dim, 2 * sizes.graph.num_relations
    linear = sizes.types * (width * width + width)
    matrices = directed * width * config.depth
    layer = {
        "hgt": 4 * linear + 2 * matrices + sizes.edge_types * config.attn,
        "gat": 2 * linear + 2 * sizes.types * width + sizes.edge_types * config.attn,
        "rgcn": 2 * linear + matrices,
    }[config.convolution]
    decoder = sizes.graph.num_relations * (out * (3 if config.decoder_bias else 1) + 2 * config.popularity)
    return config.layers * (layer + sizes.types) + sizes.types * (width + 1) * out + decoder


def links_bytes(sizes: Sizes) -> int:
    """The edges in both directions, and how often each row answers each relation."""
    graph = sizes.graph
    return _LINK_BYTES * 2 * graph.num_train + 4 * 2 * graph.num_relations * graph.num_entities


def building_bytes(sizes: Sizes) -> int:
    """What sorting the edges takes beside them."""
    return _BUILD_BYTES * 2 * sizes.graph.num_train


def pass_bytes(config: HgtConfig, rows: int) -> int:
    """The largest moment of a forward and backward pass over some rows."""
    whole, out = 4 * rows * config.hidden_dim, 4 * rows * config.embedding_dim
    projections = {"hgt": 2, "gat": 1, "rgcn": 1}[config.convolution]
    numbers = 4 * rows * config.attn * config.layers
    kept = 2 * config.layers - 1 + (config.input_dropout > 0)
    forward = (kept + 1 + projections) * whole
    asking = (kept + 1) * whole + 2 * out
    backward = (kept + 1 + 2 * projections) * whole
    return max(forward, asking + whole, backward) + numbers


def training_bytes(config: HgtConfig, asks: LinksConfig, sizes: Sizes, workers: int) -> dict[str, int]:
    """Exact training's parts, beside process, table and weights."""
    triples = sizes.graph.num_train
    block = _BLOCK_ARRAYS * 4 * BLOCK_ROWS * max(config.hidden_dim, config.embedding_dim)
    ahead = 2 * workers + 2
    asked = 2 * sizes.graph.num_relations * min(asks.edges_per_type, triples) * 24
    passing = pass_bytes(config, sizes.graph.num_entities) + block + _SCORE_ARRAYS * 4 * SCORES
    return {
        "edges": links_bytes(sizes) + _TRIPLE_BYTES * triples,
        "batches ahead": ahead * (triples + asked) + max(1, workers) * _FOLD_BYTES * triples,
        "layers and their gradients": passing,
        "sorting the edges": max(0, building_bytes(sizes) - passing),
    }


def part_rows(asks: SamplingConfig, sizes: Sizes) -> tuple[int, int]:
    """The most nodes and messages that a drawn part can have, by type where it is drawn around nodes."""
    whole = sizes.graph.num_entities, 2 * sizes.graph.num_train
    if asks.name == "edges":
        drawn = min(asks.edge_sample_size * sizes.graph.num_relations, sizes.graph.num_train)
        return min(2 * drawn, whole[0]), 2 * drawn
    seeds = min(asks.node_batch_size + 2 * sizes.graph.num_relations, whole[0])
    if asks.name == "budget":
        taken = [min(seeds + asks.width * asks.rounds, size) for size in sizes.rows_by_type]
        ends = ((taken[source] * taken[target], edges) for source, target, edges in sizes.messages_by_type)
        most = min(seeds + sizes.types * asks.width * asks.rounds, whole[0])
        return most, min(sum(map(min, ends)), whole[1])
    frontier = {kind: min(seeds, size) for kind, size in enumerate(sizes.rows_by_type)}
    nodes, messages = dict(frontier), 0
    for fan_out in asks.num_neighbors:
        reached = dict.fromkeys(frontier, 0)
        for source, target, edges in sizes.messages_by_type:
            drawn = min(frontier[target] * fan_out, edges)
            messages += drawn
            reached[source] += drawn
        frontier = {kind: min(reached[kind], sizes.rows_by_type[kind]) for kind in reached}
        nodes = {kind: min(nodes[kind] + frontier[kind], sizes.rows_by_type[kind]) for kind in nodes}
    return min(sum(nodes.values()), whole[0]), min(messages, len(asks.num_neighbors) * whole[1])


def sampled_bytes(
    config: HgtConfig, asks: LinksConfig, sampling: SamplingConfig, sizes: Sizes, workers: int
) -> dict[str, int]:
    """Sampled training's parts, beside process, table and weights. Embeddings are ranked over the whole graph."""
    rows, messages = part_rows(sampling, sizes)
    triples, graph = sizes.graph.num_train, sizes.graph
    part = (_LINK_BYTES + _BUILD_BYTES) * messages + 22 * graph.num_entities + triples
    block = _BLOCK_ARRAYS * 4 * BLOCK_ROWS * max(config.hidden_dim, config.embedding_dim)
    passing = pass_bytes(config, rows) + 3 * 4 * rows * config.hidden_dim + block + _SCORE_ARRAYS * 4 * SCORES
    indexes = _TRIPLE_BYTES * triples + 4 * triples
    indexes += 16 * 2 * triples if sampling.name in ("neighbors", "budget") else 0
    return {
        "edges": links_bytes(sizes) + indexes,
        "batches ahead": (2 * workers + 2) * part,
        "layers and their gradients": passing,
        "sorting the edges": max(0, building_bytes(sizes) - passing),
    }


def inference_bytes(config: HgtConfig, sizes: Sizes, *, mapped: bool) -> int:
    """All embeddings, over all edges: input, output, projections of a layer, and the embeddings in two orders.

    Where they lie in mapped files, the input of a layer while it is projected, the projections, and a window of pages.
    """
    rows = sizes.graph.num_entities
    block = _BLOCK_ARRAYS * 4 * BLOCK_ROWS * max(config.hidden_dim, config.embedding_dim)
    whole, out = 4 * rows * config.hidden_dim, 4 * rows * config.embedding_dim
    if mapped:
        return max(3 * whole, whole + out) + block + WINDOW_BYTES
    return max(4 * whole, whole + 2 * out) + block
