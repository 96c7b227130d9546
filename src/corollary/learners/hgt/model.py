"""HGT as a learner: input embeddings, layers, embeddings of every node, scores.

A training step goes over all edges but those that are hidden, or over a sampled part; `embeddings` always goes over
all training edges of all nodes, layer by layer, so that memory does not grow with their number.
Source: Hu et al. 2020, "Heterogeneous graph transformer". Published for ogbn-mag; links: Hetionet in docs/hgt.md.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from corollary.graph.folder import Graph
from corollary.graph.typed_links import BLOCK_ROWS, TypedLinks
from corollary.learners.entity_table import EntityTable
from corollary.learners.hgt.config import HgtConfig, LinksConfig, SamplingConfig
from corollary.learners.hgt.contrast import Contrast
from corollary.learners.hgt.decoder import Decoder
from corollary.learners.hgt.edges import Removed
from corollary.learners.hgt.features import Features
from corollary.learners.hgt.layer import Layer, Saved
from corollary.learners.hgt.parts import DrawnParts, Parts
from corollary.learners.hgt.questions import Asked, Links, WholeGraph
from corollary.learners.hgt.tensor_edges import edges_of
from corollary.learners.hgt.typed_linear import TypedLinear
from corollary.learners.layers import Dropout
from corollary.learners.protocol import Files, Place, Queries
from corollary.learners.row_storage import RowStorage

NEVER = -1e30
"""Score of an entity whose type never answers the relation."""


class Hgt(nn.Module):
    """A heterogeneous graph transformer on the training edges of one graph."""

    def __init__(
        self,
        config: HgtConfig,
        links: TypedLinks,
        *,
        num_relations: int,
        seed: int,
        device: torch.device | str = "cpu",
        storage: RowStorage | None = None,
        features: Mapping[int, Float[np.ndarray, "rows features"]] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.links, self.num_relations = config, links, num_relations
        nodes = links.nodes
        self.num_entities = len(nodes)
        self.entities = EntityTable(
            len(nodes),
            config.hidden_dim,
            bias=False,
            block_rows=BLOCK_ROWS,
            device=device,
            storage=storage,
            sampled=True,
        )
        self.entities.initialise(seed, std=config.input_std)
        self.features = Features(features or {}, nodes, config.hidden_dim, seed, alone=config.features_alone)
        self.nameless = Dropout("inputs", config.input_dropout)
        self.steps = [
            Layer(config, links, 2 * num_relations, seed, number) for number in range(config.layers)
        ]
        self.layers = nn.ModuleList(self.steps)
        self.output = TypedLinear(seed, "output", nodes.num_types, config.embedding_dim, config.hidden_dim)
        self.decoder = Decoder(
            num_relations, config.embedding_dim, seed, bias=config.decoder_bias, popularity=config.popularity
        )
        self.asking: Links | None = None
        self.parts: Parts | None = None
        self.contrast: Contrast | None = None
        self._embedded: Tensor | None
        self._storage: RowStorage
        self.release()
        allowed = np.zeros((2 * num_relations, nodes.num_types), bool)
        for kind in links.edge_types:
            allowed[kind.relation, kind.target] = True
        self._allowed = torch.from_numpy(allowed | ~allowed.any(1, keepdims=True)).to(device)
        kinds = nodes.types_of(nodes.row_of.astype(np.int64))
        self._kinds = torch.from_numpy(kinds).to(device)
        self.to(device)

    @property
    def device(self) -> torch.device:
        return self.entities.device

    def asks(self, graph: Graph, config: LinksConfig, sampling: SamplingConfig | None = None) -> "Hgt":
        """Make ready for training on a graph: on the whole of it, or on drawn parts."""
        self.asking = Links(graph, config, self.links)
        drawn = sampling is not None and sampling.name != "none"
        self.parts = Parts(sampling, self.asking) if sampling is not None and drawn else None
        self.contrast = None
        if config.contrast is not None:
            dim, bank = self.config.embedding_dim, self.parts is not None
            self.contrast = Contrast(config.contrast, self.asking, dim, sampled=bank)
        return self

    def train(self, mode: bool = True) -> "Hgt":
        """Embeddings that were made for scoring are forgotten."""
        self.release()
        return super().train(mode)

    def release(self) -> None:
        """Forget the embeddings made for scoring, and the files that they lie in."""
        self._embedded, self._storage = None, self.entities.storage.another()

    def files(self) -> Files:
        """The weights, and the rows of input embeddings in the order of types."""
        yield "weights.safetensors", {name: value.detach() for name, value in self.named_parameters()}
        yield from self.entities.files()
        if self.contrast is not None:
            yield from self.contrast.files()

    def batches(self, graph: Graph, *, seed: int, epoch: int) -> Sequence[Asked]:
        """The batches of one epoch."""
        assert self.asking is not None, "say what is asked with `asks`"
        assert self.asking.graph is graph
        if self.parts is not None:
            return DrawnParts(self.parts, seed=seed, epoch=epoch)
        return WholeGraph(self.asking, seed=seed, epoch=epoch)

    def encode(
        self,
        x: Float[Tensor, "rows hidden"],
        links: TypedLinks,
        removed: Removed,
        place: Place | None,
    ) -> tuple[Float[Tensor, "rows hidden"], list[Saved]]:
        """All layers over some links, and what the backward pass needs."""
        edges, kept = edges_of(links, removed, x.device), []
        for layer in self.steps:
            x, saved = layer(x, links, edges, place)
            kept.append(saved)
        return x, kept

    def loss(self, batch: Asked, *, share: float = 1.0) -> Float[Tensor, ""]:
        """Mean loss of what the batch asks, times `share`; all gradients are made here. Call `backward()` once.

        Memory: see `planning`.
        """
        with torch.no_grad():
            return self._loss(batch, share)

    def _loss(self, batch: Asked, share: float) -> Float[Tensor, ""]:
        nodes, rows = batch.links.nodes, batch.rows
        x = self.entities.parts["weight"] if rows is None else self.entities.gathered(rows)[0]
        x = self.features.add(x, rows)
        known = self.nameless.scaled_rows(slice(0, len(x)), 1, batch.place, like=x)
        x = x if known is None else x * known
        hidden, saved = self.encode(x, batch.links, batch.removed, batch.place)
        z = self.output.rows(hidden, nodes)
        back = torch.zeros_like(z)
        total = z.new_zeros(())
        for question in batch.questions:
            total += self.decoder.loss(question, z, back, share=share)
        if self.contrast is not None:
            total += self.contrast.loss(batch, z, back, share=share)
        del z
        gradient = torch.zeros_like(hidden)
        self.output.rows_backward(hidden, nodes, back, gradient)
        del back, hidden
        edges = edges_of(batch.links, batch.removed, gradient.device)
        for layer in reversed(self.steps):
            gradient = layer.backward(gradient, saved.pop(), batch.links, edges, batch.place)
        gradient = gradient if known is None else gradient.mul_(known)
        self.features.backward(gradient, rows)
        every = torch.arange(len(gradient), device=gradient.device) if rows is None else rows
        self.entities.storage.drop()
        self.entities.add_gradient(every, gradient, None)
        return total.detach().requires_grad_()

    @torch.no_grad()
    def embeddings(self) -> Float[Tensor, "entities dim"]:
        """Of every entity, in the order of ids, over all training edges. Kept until training goes on."""
        if self._embedded is None:
            self._embedded = self._inferred(self._storage)
        return self._embedded

    def _inferred(self, storage: RowStorage) -> Float[Tensor, "entities dim"]:
        """Layer by layer. Outputs lie where input embeddings do; files of layers are gone when this is done."""
        scratch, nodes = self.entities.storage.another(), self.links.nodes
        x = self.features.add(self.entities.parts["weight"], None, storage=scratch)
        edges = edges_of(self.links, None, x.device)
        for layer in self.steps:
            x = layer.infer(x, self.links, edges, scratch)
            self.entities.storage.drop()
        z = scratch.allocate(len(x), self.config.embedding_dim, dtype=x.dtype)
        self.output.rows(x, nodes, out=z)
        found = storage.like(z)
        for start in range(0, len(z), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            found[rows] = scratch.gather(z, torch.from_numpy(nodes.row_of[rows].astype(np.int64)))
            storage.drop()
        return found

    @torch.no_grad()
    def prepare(self, queries: Queries) -> "Prepared":
        """Memory: 4 bytes an entity for each distinct relation, beside the query vectors."""
        assert not self.training, "call eval() before scoring"
        queries = queries.to(self.device)
        embeddings = self.embeddings()
        asking = self._storage.gather(embeddings, queries.entity_ids)
        distinct, place = queries.relation_ids.unique(return_inverse=True)
        added = None
        if self.decoder.popularity is not None:
            added = torch.stack([self._counted(relation) for relation in distinct.tolist()])
        return Prepared(self.decoder.query(asking, queries.relation_ids), queries.relation_ids, place, added)

    def _counted(self, relation: int) -> Float[Tensor, " entities"]:
        """What popularity in train adds to the score of every entity."""
        times = self.links.answering(relation)[self.links.nodes.row_of]
        return self.decoder.counted(relation, torch.from_numpy(times).float().to(self.device))

    def scores(
        self, prepared: "Prepared", rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        """Products with the embeddings of some entities, and what popularity adds."""
        embeddings = self.embeddings()
        made = torch.mm(prepared.query, self._storage.view(embeddings, rows).T, out=out)
        if prepared.added is not None:
            made += prepared.added[:, rows][prepared.place]
        if self.config.typed_scores:
            made.masked_fill_(~self._allowed[prepared.relations][:, self._kinds[rows]], NEVER)
        return made


class Prepared(NamedTuple):
    """Queries ready to be scored."""

    query: Float[Tensor, "queries dim"]
    relations: Int[Tensor, " queries"]
    place: Int[Tensor, " queries"]
    """Row of `added` of each query."""
    added: Float[Tensor, "distinct entities"] | None
    """What popularity adds, by relation."""
