"""ConvE: a small convolution over head and relation, compared with every entity at once.

Dettmers, Minervini, Stenetorp & Riedel 2018, "Convolutional 2D Knowledge Graph Embeddings". Published with the
authors' code: FB15k-237 test MRR .32, WN18RR .43, UMLS .94. Re-run by Ruffinelli et al. 2020 (LibKGE) with softmax
cross-entropy: .339 and .442.

Both sides are predicted as tails: with R relations, directed relation r + R asks for the head of r.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from corollary.budget import Budget, Plan
from corollary.graph.answers import AnswerIndex
from corollary.graph.folder import Graph, GraphSize
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.entity_table import EntityTable
from corollary.learners.layers import Dropout, normal, uniform
from corollary.learners.negatives import Negatives
from corollary.learners.planning import Needs, Shape, plan_scoring, plan_training
from corollary.learners.projection import project_features
from corollary.learners.protocol import Batch, Files, Place, Queries
from corollary.learners.row_storage import RowStorage
from corollary.losses import one_to_all, sampled
from corollary.losses.labels import Labels, smoothed
from corollary.losses.workspace import Precision, Workspace
from corollary.randomness import generator


class ConvE(nn.Module):
    """The learner. Entity rows live in `entities`, everything else in `parameters()` and `buffers()`."""

    def __init__(
        self,
        config: ConvEConfig,
        *,
        num_entities: int,
        num_relations: int,
        seed: int,
        device: torch.device | str = "cpu",
        storage: RowStorage | None = None,
        precision: Precision = "fp32",
        recompute: bool = False,
    ) -> None:
        """A fresh learner.

        Args:
            storage: where the entity table lives; in the device's memory when not given.
            precision: of the factors of matrix products while training; scores are always made in float32.
            recompute: make the feature maps again in backward in place of keeping them; changes no byte.
        """
        super().__init__()
        self.config, self.recompute = config, recompute
        self.num_entities, self.num_relations = num_entities, num_relations
        self.labels: Labels = smoothed(config.smoothing, config.label_smoothing, num_entities)
        dim, paper = config.embedding_dim, config.variant == "paper"
        self.entities = EntityTable(
            num_entities,
            dim,
            bias=config.entity_bias,
            block_rows=config.block_rows,
            device=device,
            storage=storage,
            sampled=config.negatives.sampled,
        )
        self.entities.initialise(seed, std=(2 / (num_entities + dim)) ** 0.5)
        directed = config.directed(num_relations)
        relation_std = (2 / (directed + dim)) ** 0.5
        self.relations = nn.Parameter(normal(seed, "relations", directed, dim, std=relation_std))
        bound = 1 / config.kernel
        shape = (config.channels, 1, config.kernel, config.kernel)
        self.filters = nn.Parameter(uniform(seed, "filters", *shape, bound=bound))
        self.filter_bias = (
            nn.Parameter(uniform(seed, "filter bias", config.channels, bound=bound))
            if config.conv_bias
            else None
        )
        bound = config.features() ** -0.5
        self.projection = nn.Parameter(uniform(seed, "projection", dim, config.features(), bound=bound))
        self.projection_bias = nn.Parameter(uniform(seed, "projection bias", dim, bound=bound))
        self.norm_input = nn.BatchNorm2d(1) if paper else nn.Identity()
        self.norm_features = nn.BatchNorm2d(config.channels, affine=paper)
        self.norm_hidden = nn.BatchNorm1d(dim, affine=paper)
        self.drop_input = Dropout("input", config.input_dropout)
        self.drop_relation = Dropout("relation", config.input_dropout)
        self.drop_features = Dropout("features", config.feature_dropout)
        self.drop_hidden = Dropout("hidden", config.hidden_dropout)
        self.workspace, self._exact = Workspace(precision), Workspace()
        self._negatives: Negatives | None = None
        self.to(device)

    @property
    def device(self) -> torch.device:
        return self.entities.device

    def encode(self, queries: Queries, place: Place | None = None) -> Float[Tensor, "batch dim"]:
        """Queries as vectors to be compared with entities. Dropout only with a `place`.

        Memory: see `project_features`; beside it about 60 * embedding_dim bytes a query in training.
        """
        paper = self.config.variant == "paper"
        head = self.entities.rows(queries.entity_ids)
        relation = self.relations[queries.relation_ids]
        if not paper:
            head, relation = self.drop_input(head, place), self.drop_relation(relation, place)
        x = self.norm_input(self.stack(head, relation))
        if paper:
            x = self.drop_input(x, place)
        keep = self.drop_features.scaled_mask(len(x), self.config.channels, place, like=x)
        x = project_features(
            x,
            self.filters,
            self.filter_bias,
            self.norm_features,
            keep,
            self.projection,
            self.projection_bias,
            self.workspace if self.training else self._exact,
            recompute=self.recompute,
        )
        x = self.norm_hidden(self.drop_hidden(x, place))
        return x.relu() if paper else x

    def stack(
        self, head: Float[Tensor, "batch dim"], relation: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """Both embeddings as one image."""
        height, width = self.config.image()
        axis = 2 if self.config.stacking == "height" else 3
        return torch.cat([x.view(-1, 1, height, width) for x in (head, relation)], axis)

    def unstack(
        self, image: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """What `stack` put together: head and relation."""
        square = image.view(-1, *self.config.stacked())
        head, relation = square.chunk(2, 1 if self.config.stacking == "height" else 2)
        return head.flatten(1), relation.flatten(1)

    def files(self) -> Files:
        """The weights, for a checkpoint: `weights.safetensors`, and the rows of entities."""
        values = {name: parameter.detach() for name, parameter in self.named_parameters()}
        yield "weights.safetensors", values | dict(self.named_buffers())
        yield from self.entities.files()

    def release(self) -> None:
        """Free the buffers that are kept between steps."""
        self.workspace.release()
        self._exact.release()

    def prepare(self, queries: Queries) -> Float[Tensor, "queries dim"]:
        """The encoder's output in evaluation mode."""
        assert not self.training, "call eval() before scoring"
        with torch.no_grad():
            return self.encode(queries.to(self.device))

    def scores(
        self, prepared: Float[Tensor, "queries dim"], rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        """Scores before any sigmoid."""
        weight, bias = self.entities.block(rows)
        if out is None:
            out = prepared.new_empty(len(prepared), len(weight))
        return self._exact.product(prepared, weight.T, out, add=bias)

    def batches(self, graph: Graph, *, seed: int, epoch: int) -> Sequence[Batch]:
        """One epoch in an order that depends on seed and epoch alone. A last batch of one joins the one before."""
        index = graph.answers("train")
        index = index if self.config.sides == "both" else index.one_side("tail")
        return _Batches(index, self.config, seed, epoch, self._draws_from(graph))

    def _draws_from(self, graph: Graph) -> Negatives | None:
        """What negatives are drawn from, kept for as long as the graph is the same."""
        if not self.config.negatives.sampled:
            return None
        if self._negatives is None or self._negatives.graph is not graph:
            self._negatives = Negatives(self.config.negatives, graph)
        return self._negatives

    def loss(self, batch: Batch, *, share: float = 1.0) -> Float[Tensor, ""]:
        """Mean loss of the batch times `share`, gradients made on the way. Per answer for weight `triple`.

        With sampled negatives an estimate of that: the batch comes with its candidates.
        """
        assert (batch.candidates is not None) == self.config.negatives.sampled
        weights, total = self._weights(batch)
        scale = weights * (share / total)
        query = self.encode(batch.queries, batch.place)
        if batch.candidates is not None:
            losses, gradient = self._sampled_loss(query, batch, scale)
            return _WithGradient.apply(query, gradient, (losses * scale).sum())
        losses, gradient = one_to_all.fused(
            self.config.loss,
            query,
            self.entities,
            batch.offsets,
            batch.answers,
            labels=self.labels,
            scale=scale,
            workspace=self.workspace,
        )
        return _WithGradient.apply(query, gradient, (losses * scale).sum())

    def losses(self, batch: Batch) -> Float[Tensor, " queries"]:
        """One loss a query times its weight; their sum over the total weight is `loss`. The table is a constant.

        A batch without candidates has exact losses, whatever the learner is trained on.
        """
        query = self.encode(batch.queries, batch.place)
        if batch.candidates is not None:
            losses = sampled.losses(self.config.loss, query, self._sample(batch), labels=self.labels)
            return losses * self._weights(batch)[0]
        weight, bias = self.entities.parts["weight"], self.entities.parts.get("bias")
        function = getattr(one_to_all, self.config.loss)
        rows = self.config.block_rows
        losses = function(
            query, weight, bias, batch.offsets, batch.answers, labels=self.labels, block_rows=rows
        )
        return losses * self._weights(batch)[0]

    def _sampled_loss(
        self, query: Float[Tensor, "queries dim"], batch: Batch, scale: Float[Tensor, " queries"]
    ) -> tuple[Float[Tensor, " queries"], Float[Tensor, "queries dim"]]:
        """Losses and the gradient of the queries; that of the candidates goes into the table."""
        assert batch.candidates is not None
        losses, gradients = sampled.fused(
            self.config.loss,
            query,
            self._sample(batch),
            labels=self.labels,
            scale=scale,
            workspace=self.workspace,
        )
        self.entities.add_gradient(batch.candidates.ids, gradients.weight, gradients.bias)
        return losses, gradients.query

    def _sample(self, batch: Batch) -> sampled.Sample:
        """The batch's candidates with their rows."""
        found = batch.candidates
        assert found is not None
        weight, bias = self.entities.gathered(found.ids)
        return sampled.Sample(weight, bias, found.counts, found.group_of, batch.offsets, found.answers)

    def _weights(self, batch: Batch) -> tuple[Float[Tensor, " queries"], Float[Tensor, ""]]:
        """What each query counts, and the sum over the whole batch by which the loss is divided."""
        counts = batch.offsets.diff().to(self.relations.dtype)
        weights = counts if self.config.weight == "triple" else (counts > 0).to(counts.dtype)
        total = weights.sum().clamp(min=1)
        if self.config.loss == "binary_cross_entropy" and self.config.reduction == "mean":
            weights = weights / self.num_entities
        return weights, total

    @classmethod
    def plan(cls, config: ConvEConfig, size: GraphSize, budget: Budget, needs: Needs) -> Plan:
        """Bytes of a training in the first of the exact ways that fits the budget, else in the smallest."""
        return plan_training(cls._shape(config, size), size, budget, needs)

    @classmethod
    def plan_scoring(cls, config: ConvEConfig, size: GraphSize, budget: Budget, *, held: int) -> Plan:
        """Bytes of loading a trained model and ranking with it; `held` are resident before."""
        return plan_scoring(cls._shape(config, size), size, budget, held=held)

    @classmethod
    def _shape(cls, config: ConvEConfig, size: GraphSize) -> Shape:
        height, width = config.stacked()
        layers = config.channels * (config.kernel**2 + 1 + 2) + config.embedding_dim * 3 + 2
        return Shape(
            dim=config.embedding_dim,
            bias=config.entity_bias,
            features=config.features(),
            image=height * width,
            network=config.embedding_dim * (config.features() + config.directed(size.num_relations)) + layers,
            batch=config.batch_size,
            block_rows=config.block_rows,
            evaluation_chunk=max(128, min(1024, config.batch_size)),
            sampling=config.sampling(size) if config.negatives.sampled else None,
        )


class _Batches(Sequence[Batch]):
    """Batches of one epoch, each made when it is asked for."""

    def __init__(
        self, index: AnswerIndex, config: ConvEConfig, seed: int, epoch: int, negatives: Negatives | None
    ) -> None:
        self._index, self._seed, self._epoch, self._negatives = index, seed, epoch, negatives
        self._one_answer = config.examples == "1vsall"
        count = index.num_examples if self._one_answer else index.num_queries
        self._order: np.ndarray = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)
        generator(seed, "order", epoch).shuffle(self._order)
        self._starts = list(range(0, count, config.batch_size))
        if count > 1 and count % config.batch_size == 1:
            self._starts.pop()  # batch norm has no statistics of a single row
        self._count = count

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        stop = self._starts[number + 1] if number + 1 < len(self) else self._count
        chosen = self._order[self._starts[number] : stop]
        if self._one_answer:
            rows = np.searchsorted(self._index.offsets, chosen, side="right") - 1
            offsets, answers = np.arange(len(chosen) + 1), np.asarray(self._index.answers[chosen])
        else:
            rows = chosen
            offsets, answers = self._index.gather(rows)
        entities, relations = self._index.queries(rows)
        self._index.release()
        queries = Queries(torch.from_numpy(entities), torch.from_numpy(relations))
        place = Place(self._seed, self._epoch, number)
        answers = answers.astype(np.int64)
        draws_from = self._negatives
        candidates = None if draws_from is None else draws_from.candidates(relations, answers, place)
        return Batch(queries, torch.from_numpy(offsets), torch.from_numpy(answers), place, candidates)


class _WithGradient(torch.autograd.Function):
    """A value whose gradient is already known."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the table were made without `factor`, so it has to be one."""
        return ctx.saved_tensors[0], None, None
