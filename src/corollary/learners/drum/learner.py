"""DRUM: differentiable rules, as attention over relations step by step, summed over several components.

Sadeghian, Armandpour, Ding & Wang 2019, "DRUM: End-To-End Differentiable Rule Mining On Knowledge Graphs". Measured by
us with expected ranks over ties: see docs/drum.md. Where we differ: `drum_config`, and in the arithmetic `kernels.drum`.

With R relations a query is a directed relation (r < R asks for the tail, r + R for the head) and an operator a step
along one, or staying. Attention depends on the query alone, so it is made once for each query of a batch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor, nn

from corollary.budget import MIB
from corollary.graph.folder import Graph
from corollary.kernels.drum import losses as kernels
from corollary.learners.drum import tensor_walk
from corollary.learners.drum.batches import DrumBatch, DrumBatches, only
from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.data import DrumData
from corollary.learners.drum.generating import Episode, Generator
from corollary.learners.drum.groups import Turn
from corollary.learners.layers import normal, uniform
from corollary.learners.protocol import Files, Place, Queries

THREADS = 2
"""Threads that walk; part of no result."""
ATTENTION_BYTES = 128 * MIB
"""Of attention that is kept while queries are scored."""
_NOTHING = np.zeros(0, np.uint8)
_TOGETHER = 64  # queries whose attention is computed at once while scoring


class Drum(nn.Module):
    """The learner. `walk_on` gives it the facts; weights know relations, not entities."""

    def __init__(
        self,
        config: DrumConfig,
        *,
        num_entities: int,
        num_relations: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config = config
        self.num_entities, self.num_relations = num_entities, num_relations
        self.operators = 2 * num_relations + 1
        d, h, cells = config.query_embed_size, config.lstm_size, 2 * config.components
        table = uniform(seed, "queries", 2 * num_relations, d, bound=1.0)
        self.queries = nn.Parameter(table / table.norm(dim=1, keepdim=True))
        inside = (6 / (d + 5 * h)) ** 0.5  # Glorot, for the one kernel [d + h, 4h] that the authors' cell has
        self.input = nn.Parameter(uniform(seed, "input", cells, d, 4 * h, bound=inside))
        self.hidden = nn.Parameter(uniform(seed, "hidden", cells, h, 4 * h, bound=inside))
        bias = torch.zeros(cells, 1, 4 * h)
        bias[:, :, 2 * h : 3 * h] = 1.0  # the forget gate
        self.bias = nn.Parameter(bias)
        self.output = nn.Parameter(normal(seed, "output", 2 * h, self.operators, std=config.output_scale))
        self.output_bias = nn.Parameter(torch.zeros(self.operators))
        self.generator: Generator | None = None
        if config.generated:  # the rows of relations say what the networks do not: they begin at nothing
            self.generator = Generator(config, seed=seed)
            with torch.no_grad():
                self.queries.zero_()
                self.output[:, :-1] = 0.0
        self.data: DrumData | None = None
        self._kept_chunks: dict[int, list[tensor_walk.Chunk]] = {}
        self._versions: tuple[int, ...] = ()
        self._blocks: dict[int, np.ndarray] = {}
        self.turns: Sequence[Turn] = ()
        """The group whose turn it is, by epoch; empty: all targets are trained together."""
        self.epoch = 0
        """The epoch whose batches were made last."""
        self.to(device)

    @property
    def device(self) -> torch.device:
        return self.queries.device

    @property
    def entities(self) -> None:
        """No weight belongs to an entity."""
        return

    @property
    def turn(self) -> Turn | None:
        """Whose turn it is; None: everyone's."""
        return self.turns[self.epoch] if self.turns else None

    @property
    def only(self) -> Int[np.ndarray, " targets"] | None:
        """Relations that are asked for in this epoch; None: all."""
        return None if self.turn is None else self.turn.targets

    def walk_on(self, data: DrumData) -> "Drum":
        """The facts and operators of all that follows."""
        self.data, self._kept_chunks, self._blocks = data, {}, {}
        if self.generator is not None:
            self.generator.describe(data)
        return self

    def log_attention(
        self, relations: Int[Tensor, " queries"], episode: Episode | None = None
    ) -> Float[Tensor, "queries steps operators components"]:
        """Log of the attention of some queries; minus infinity for operators that they may not use.

        Memory: about 16 bytes a query, step, operator and component.

        Args:
            episode: what a step of training does without, where queries are generated.
        """
        config, count = self.config, self.config.components
        queries, output, output_bias = self._tables(relations, episode)
        given = queries @ self.input + self.bias
        hidden = given.new_zeros(2 * count, len(relations), config.lstm_size)
        cell, states = torch.zeros_like(hidden), []
        for _ in range(config.rule_length):
            enters, candidate, forgets, leaves = (given + hidden @ self.hidden).chunk(4, dim=2)
            cell = forgets.sigmoid() * cell + enters.sigmoid() * candidate.tanh()
            hidden = leaves.sigmoid() * cell.tanh()
            states.append(hidden)
        # the input is the same at every step, so the backward LSTM has its first state at the last step
        both = [
            torch.cat([ahead[:count], behind[count:]], 2)
            for ahead, behind in zip(states, reversed(states), strict=True)
        ]
        logits = torch.stack(both) @ output + output_bias  # steps, components, queries, operators
        allowed = self._allowed(relations)
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        if episode is not None and self.generator is not None:
            logits = logits.masked_fill(self.generator.own_steps(relations, episode), -torch.inf)
        return logits.log_softmax(3).permute(2, 0, 3, 1)

    def _tables(
        self, relations: Int[Tensor, " queries"], episode: Episode | None
    ) -> tuple[Float[Tensor, "queries dim"], Float[Tensor, "states operators"], Float[Tensor, " operators"]]:
        """Vectors of the queries, weights and bias of the output layer: as looked up, and as generated."""
        queries: Tensor = self.queries[relations]
        output: Tensor = self.output
        bias: Tensor = self.output_bias
        if self.generator is None:
            return queries, output, bias
        described = self.generator.described
        if episode is not None:
            described = episode.described
            queries = queries * episode.looked_up[relations, None]
            shown = nn.functional.pad(episode.looked_up, (0, 1), value=True)
            output, bias = output * shown, bias * shown
        keys = nn.functional.pad(self.generator.keys(), (0, 1))  # staying has a column of its own alone
        return queries + self.generator.queries(described[relations]), output + keys[:-1], bias + keys[-1]

    def _allowed(self, relations: Int[Tensor, " queries"]) -> Bool[Tensor, "queries operators"] | None:
        if self.data is None or self.data.allowed is None:
            return None
        return torch.from_numpy(self.data.allowed[relations.cpu().numpy()]).to(relations.device)

    def attention(
        self, relations: Int[Tensor, " queries"]
    ) -> Float[np.ndarray, "queries steps operators components"]:
        """What `log_attention` is the log of, as an array. Queries are always computed with the same neighbours, so that
        no bit of a score depends on what is asked beside it."""
        wanted, config = relations.cpu().numpy(), self.config
        out = np.empty((len(wanted), config.rule_length, self.operators, config.components), np.float32)
        for first in np.unique(wanted // _TOGETHER * _TOGETHER).tolist():
            mine = (wanted >= first) & (wanted < first + _TOGETHER)
            out[mine] = self._block(first)[wanted[mine] - first]
        return out

    def _block(self, first: int) -> Float[np.ndarray, "queries steps operators components"]:
        """Attention of neighbouring queries, kept until a weight changes, as far as `ATTENTION_BYTES` go."""
        versions = tuple(part._version for part in self.parameters())
        if versions != self._versions:
            self._versions, self._blocks = versions, {}
        if first not in self._blocks:
            last = min(first + _TOGETHER, 2 * self.num_relations)
            with torch.no_grad():
                block = self.log_attention(torch.arange(first, last, device=self.device)).exp().cpu().numpy()
            if block.nbytes * (len(self._blocks) + 1) > ATTENTION_BYTES:
                return block
            self._blocks[first] = block
        return self._blocks[first]

    def batches(self, graph: Graph, *, seed: int, epoch: int) -> Sequence[DrumBatch]:
        """One epoch in an order that depends on seed and epoch alone, relations mixed."""
        assert self.data is not None, "call walk_on() before training"
        self.epoch = epoch
        return DrumBatches(self.config, self.data, self.data.asked(seed, epoch, self.only), seed, epoch)

    @property
    def in_tensors(self) -> bool:
        """Whether walks are made in tensors on the device; on a CPU compiled loops make them."""
        return self.device.type != "cpu"

    def loss(self, batch: DrumBatch, *, share: float = 1.0) -> Float[Tensor, ""]:
        """Mean loss of the examples times `share`, gradients made on the way."""
        return self.losses(batch).mean() * share

    def losses(self, batch: DrumBatch) -> Float[Tensor, " examples"]:
        """One loss an example: -log of the answer's score, between -log(components) and -log(floor)."""
        logs = self.log_attention(batch.relations, self._episode(batch.place))
        return self._tensor_losses(logs, batch) if self.in_tensors else _Losses.apply(logs, self, batch)

    def _episode(self, place: Place) -> Episode | None:
        if self.generator is None or not self.training:
            return None
        assert self.data is not None
        return self.generator.episode(self.data, place)

    def _tensor_losses(
        self, logs: Float[Tensor, "queries steps operators components"], batch: DrumBatch
    ) -> Float[Tensor, " examples"]:
        """The same by `tensor_walk`, differentiated by autograd."""
        config, place = self.config, logs.device
        assert self.data is not None
        starts, answers, query_of = (torch.from_numpy(part).to(place) for part in (
            batch.starts, batch.answers, np.repeat(np.arange(len(batch.relations)), np.diff(batch.bounds))))  # fmt: skip
        forward = batch.relations[query_of]
        count = self.num_relations
        backward = torch.where(forward < count, forward + count, forward - count)
        keys = torch.from_numpy(batch.keys.view(np.int64)).to(place)
        return tensor_walk.losses(
            logs.exp()[query_of], starts, answers, self.num_entities, self._edges(len(batch), batch.removed),
            own=tensor_walk.Own(starts, answers, forward, backward) if config.own_edges == "leave-one-out" else None,
            normalise=config.normalise, floor=config.floor,
            keys=keys if len(keys) and self.training else None, keep=1 - config.dropout,
        )  # fmt: skip

    def _edges(self, rows: int, removed: UInt[np.ndarray, " edges_or_none"]) -> list[tensor_walk.Chunk]:
        """The facts in chunks for so many walks; those without removed edges are made once."""
        assert self.data is not None
        size = tensor_walk.edges_per_chunk(rows, self.config.components)
        if len(removed):
            return self._chunks(removed, size)
        if size not in self._kept_chunks:
            self._kept_chunks = {size: self._chunks(removed, size)}
        return self._kept_chunks[size]

    def _chunks(self, removed: UInt[np.ndarray, " edges_or_none"], size: int) -> list[tensor_walk.Chunk]:
        assert self.data is not None
        return tensor_walk.chunks_of(
            self.data.links, removed, self.num_relations, edges_per_chunk=size, device=self.device
        )

    def release(self) -> None:
        """Nothing is kept between steps."""

    def files(self) -> Files:
        """The weights, all in one file: a few numbers a relation."""
        yield "weights.safetensors", {name: value.detach() for name, value in self.named_parameters()}

    def prepare(self, queries: Queries) -> Float[Tensor, "queries entities"]:
        """All scores of the queries: 4 bytes a query and entity."""
        assert self.data is not None, "call walk_on() before scoring"
        relations, query_of = queries.relation_ids.cpu().unique(return_inverse=True)
        out = torch.empty(len(queries), self.num_entities)
        if self.in_tensors:
            return self._tensor_scores(relations, query_of, queries, out)
        kernels.scores(
            self.data.links, self.attention(relations), query_of.numpy(), queries.entity_ids.cpu().numpy(),
            self.config.normalise, THREADS, out.numpy(),
        )  # fmt: skip
        return out

    def _tensor_scores(
        self,
        relations: Int[Tensor, " distinct"],
        query_of: Int[Tensor, " queries"],
        queries: Queries,
        out: Tensor,
    ) -> Float[Tensor, "queries entities"]:
        attention = torch.from_numpy(self.attention(relations)).to(self.device)
        starts, some = queries.entity_ids.to(self.device), query_of.to(self.device)
        at_once = tensor_walk.rows_at_once(self.num_entities, self.config.components)
        for first in range(0, len(starts), at_once):
            rows = slice(first, first + at_once)
            out[rows] = tensor_walk.scores(
                attention[some[rows]], starts[rows], self.num_entities, self._edges(at_once, _NOTHING),
                normalise=self.config.normalise,
            )  # fmt: skip
        return out

    def scores(
        self, prepared: Float[Tensor, "queries entities"], rows: slice, out: Tensor | None = None
    ) -> Float[Tensor, "queries rows"]:
        """Mass that arrives, summed over components; 0 for what no walk reaches."""
        return prepared[:, rows] if out is None else out.copy_(prepared[:, rows])


class _Losses(torch.autograd.Function):
    """Losses whose gradient by the log of attention the kernel makes at once: the same factor for every example."""

    @staticmethod
    def forward(ctx: Any, logs: Tensor, learner: Drum, batch: DrumBatch) -> Tensor:
        attention = np.ascontiguousarray(logs.detach().exp().cpu().numpy())
        ctx.work = (attention, learner, batch)
        ctx.type, ctx.place = logs.dtype, logs.device
        losses, gradient = _walk(attention, learner, batch)
        ctx.gradient, ctx.examples = gradient, len(batch)
        return torch.from_numpy(losses).to(dtype=logs.dtype, device=logs.device)

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        """Equal factors scale the gradient; different ones (attribution) need the walks of each example again."""
        factors = factor.detach().cpu().numpy().astype(np.float64)
        gradient = ctx.gradient
        if (factors == factors[0]).all():
            gradient = gradient * factors[0]
        else:
            attention, learner, batch = ctx.work
            gradient = np.zeros_like(gradient)
            for example in range(len(factors)):
                gradient += factors[example] * _walk(attention, learner, only(batch, example))[1]
        return torch.from_numpy(gradient).to(dtype=ctx.type, device=ctx.place), None, None


def _walk(
    attention: np.ndarray, learner: Drum, batch: DrumBatch
) -> tuple[Float[np.ndarray, " examples"], Float[np.ndarray, "queries steps operators components"]]:
    data, config = learner.data, learner.config
    assert data is not None
    drop = batch.keys if learner.training else batch.keys[:0]
    return kernels.losses_and_gradients(
        data.links, data.counts(batch.removed), batch.removed, attention, batch.relations.cpu().numpy(),
        batch.bounds, batch.starts, batch.answers, drop, 1 - config.dropout,
        config.own_edges == "leave-one-out", config.normalise, config.floor, learner.num_relations, THREADS,
    )  # fmt: skip
