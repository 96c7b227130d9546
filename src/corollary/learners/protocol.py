"""What the loop, the evaluation and the explanations know of a learner."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from corollary.graph.folder import Graph
from corollary.learners.row_storage import RowStorage


@dataclass(frozen=True)
class Queries:
    """Questions of the form (entity, directed relation, ?).

    With R relations, relation r < R asks for the tail of (entity, r, ?), r + R for the head of (?, r, entity).
    """

    entity_ids: Int[Tensor, " queries"]
    relation_ids: Int[Tensor, " queries"]

    def __len__(self) -> int:
        return len(self.entity_ids)

    def to(self, device: torch.device | str) -> "Queries":
        return Queries(self.entity_ids.to(device), self.relation_ids.to(device))


@dataclass(frozen=True)
class Place:
    """Where in a training a batch stands: all that its random numbers depend on."""

    seed: int
    epoch: int
    step: int


@dataclass(frozen=True)
class Candidates:
    """Entities that stand for all of them in one batch of sampled training (see `negatives`)."""

    ids: Int[Tensor, " candidates"]
    """Ascending, each once; all answers of the batch are among them."""
    counts: Float[Tensor, "groups candidates"]
    """Entities that each stands for, by group of queries; 0: it is no candidate there."""
    group_of: Int[Tensor, " queries"]
    answers: Int[Tensor, " answers"]
    """The batch's answers, as places in `ids`."""

    def to(self, device: torch.device | str) -> "Candidates":
        parts = (self.ids, self.counts, self.group_of, self.answers)
        return Candidates(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class Batch:
    """Queries with their true answers as CSR: those of query i are `answers[offsets[i]:offsets[i + 1]]`."""

    queries: Queries
    offsets: Int[Tensor, " bounds"]
    answers: Int[Tensor, " answers"]
    place: Place
    candidates: Candidates | None = None
    """Of sampled training alone."""

    def __len__(self) -> int:
        return len(self.queries)

    def to(self, device: torch.device | str) -> "Batch":
        candidates = self.candidates and self.candidates.to(device)
        queries, offsets = self.queries.to(device), self.offsets.to(device)
        return Batch(queries, offsets, self.answers.to(device), self.place, candidates)


@runtime_checkable
class UpdateRule(Protocol):
    """An optimiser as a function of one block: row by row, so a table can be updated by blocks or by single rows."""

    def state(self, weight: Tensor) -> dict[str, Tensor]:
        """Fresh state for one parameter or one block."""
        ...

    def update(
        self, weight: Tensor, gradient: Tensor, state: Mapping[str, Tensor], *, step: int, lr: float
    ) -> None:
        """Change `weight` and `state` in place. `step` counts from 1."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """What can be evaluated: conve, hgt, drum, counted rules, ensembles, baselines. Higher is more plausible."""

    num_entities: int

    @property
    def device(self) -> torch.device: ...

    def prepare(self, queries: Queries) -> Any:
        """What all entity blocks share for these queries (for ConvE the encoder's output), computed once."""
        ...

    def scores(self, prepared: Any, rows: slice, out: Tensor | None = None) -> Float[Tensor, "queries rows"]:
        """Scores of the entities in `rows`, written into `out` where it is given. The same call gives the same bytes."""
        ...


Files = Iterator[tuple[str, dict[str, Tensor]]]
"""Names of safetensors files, and the tensors, or views of them, that each holds."""


class HasFiles(Protocol):
    """What a checkpoint can hold: the same names and tensors whenever it is asked, so that they can be filled again."""

    def files(self) -> Files: ...


class Learner(HasFiles, Protocol):
    """What can be trained by the common loop; `files` are its weights.

    A class that implements this also offers `plan(config, size, budget, ...)`, since bytes are known before it exists.
    """

    def batches(self, graph: Graph, *, seed: int, epoch: int) -> Sequence[Any]:
        """The batches of one epoch, each made when it is asked for; their order depends on seed and epoch alone."""
        ...

    def release(self) -> None:
        """Free the buffers that are kept between steps; the next step makes them anew."""
        ...

    def train(self, mode: bool = True) -> Any: ...

    def eval(self) -> Any: ...


class GradientLearner(Learner, Protocol):
    """A learner whose `loss` makes the gradients: of `parameters()` on `backward()`, of entity rows in its table."""

    @property
    def entities(self) -> "Table | None":
        """Rows that have an optimiser of their own; None where every weight is a parameter."""
        ...

    def loss(self, batch: Any, *, share: float = 1.0) -> Float[Tensor, ""]:
        """Mean loss of the batch, times `share`. Call `backward()` on it once, without a factor."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]: ...


@runtime_checkable
class Table(Protocol):
    """Rows of the entity table with their gradient and optimiser state (see `entity_table`)."""

    num_rows: int
    block_rows: int
    sampled: bool
    """A loss names the rows that it reads; only those have a gradient and are updated."""
    parts: dict[str, Tensor]
    storage: RowStorage

    def row_files(self, values: Mapping[str, Tensor], prefix: str = "") -> Files:
        """Files of some blocks each, for tensors with a row an entity that are stored as the table is."""
        ...

    def block_slices(self) -> list[slice]:
        """The fixed blocks in order."""
        ...

    def prepare_training(self, rule: UpdateRule, *, in_sweep: bool = False) -> None:
        """Allocate the optimiser's state; `in_sweep` where blocks may be updated while the loss goes over them."""
        ...

    def begin_step(self, *, step: int, lr: float) -> None: ...

    def squared_gradient_norm(self) -> Float[Tensor, ""]: ...

    def forget_gradient(self) -> None: ...

    def update(self, rule: UpdateRule, *, step: int, lr: float, factor: Tensor | None = None) -> None: ...

    @property
    def moments(self) -> dict[str, Tensor]:
        """State of the optimiser, whole, named `part.moment`."""
        ...
