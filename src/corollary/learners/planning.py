"""What a training of ConvE will use, by part, and which of the exact ways through it fits a limit.

Nothing here changes a result. Under a smaller limit feature maps are made again in backward, then the entity table
with its optimiser state moves off the device: to memory-mapped files on the CPU, to host memory beside an accelerator.
"""

import math
from dataclasses import dataclass

from corollary.budget import KIB, MIB, Budget, Plan
from corollary.graph.answers import RELEASED_BYTES
from corollary.graph.folder import GraphSize
from corollary.learners.projection import CHUNK_ROWS
from corollary.learners.row_storage import WINDOW_BYTES, Living
from corollary.losses.one_to_all import STRIP_ROWS
from corollary.losses.sampled import strip_rows

LATER_BYTES = 100 * MIB
"""Code that is loaded once work begins, thread pools, and what the allocator keeps (measured, CPU)."""

COMPILING_BYTES = 110 * MIB
"""What the compiler takes, the first time that kernels run on a machine (measured)."""

_AROUND_BYTES = 64 * KIB
"""Most that Linux maps around a page of a file that is touched alone."""

ROW_FILE_BLOCKS = 4
"""Whole blocks in one row file of a checkpoint: 13 MB at 200 dimensions, held while it is written or read."""


@dataclass(frozen=True)
class Needs:
    """What decides the bytes of a training, beside model and graph.

    Args:
        moments: tensors the optimiser keeps beside each parameter.
        row_state: bytes it keeps beside a row of the table; not given: as many tensors as beside a parameter.
        whole_gradient: whether a gradient of the whole table is kept (clipping, several batches a step, fp16).
        accumulation: batches that make one step.
        validated: whether the run ranks validation triples on the way.
        recompute: feature maps are to be made again in backward whether or not they would fit.
        cleanup: buffers of training are freed before a ranking.
        held: resident bytes before any work.
        compiling: kernels have to be compiled first.
        accelerator: the device has memory of its own, and the limit is for that.
    """

    moments: int
    row_state: int | None = None
    average: bool = False
    whole_gradient: bool = False
    accumulation: int = 1
    validated: bool = True
    recompute: bool = False
    cleanup: bool = True
    held: int = 0
    compiling: bool = False
    accelerator: bool = False


@dataclass(frozen=True)
class Sampling:
    """What decides the bytes of sampled negatives."""

    drawn: int
    """Entities drawn for a batch."""
    one_answer: bool
    """Every query of a batch comes with a single answer."""
    tiles: int
    """Arrays of queries x candidates."""
    groups: int
    """Most groups of queries that differ in what they allow."""
    tables: int
    """Bytes of what is drawn from."""

    def candidates(self, batch: int, size: GraphSize) -> int:
        """The most candidates that a batch has: drawn ones and its answers, of which no batch in 1e12 has more.

        By Bernstein's inequality, from the mean of answers a query and their largest number, which bound the variance.
        """
        most, mean = size.max_answers, 2 * size.num_train / max(size.num_queries, 1)
        deviation = most * 28 / 3 + math.sqrt((most * 28 / 3) ** 2 + 56 * batch * mean * most)
        answers = batch if self.one_answer else min(batch * most, math.ceil(batch * mean + deviation))
        return min(size.num_entities, self.drawn + self.groups + answers)


@dataclass(frozen=True)
class Shape:
    """Sizes of a ConvE, in entries of four bytes."""

    dim: int
    bias: bool
    features: int
    image: int
    network: int
    """Entries of all parameters but the entity table."""
    batch: int
    block_rows: int
    evaluation_chunk: int
    sampling: Sampling | None = None

    @property
    def row(self) -> int:
        """Bytes of one entity's weights."""
        return 4 * (self.dim + self.bias)


def plan_training(shape: Shape, size: GraphSize, budget: Budget, needs: Needs) -> Plan:
    """The first way that fits the budget, else the smallest: `Plan.check` then says what is missing."""
    elsewhere: Living = "host" if needs.accelerator else "disk"
    ways: list[tuple[bool, Living]] = [(False, "device"), (True, "device"), (True, elsewhere)]
    plans = [
        _plan(shape, size, budget, needs, recompute=recompute, living=living)
        for recompute, living in ways[needs.recompute :]
    ]
    fitting = (plan for plan in plans if plan.total <= budget.bytes)
    return next(fitting, min(plans, key=lambda plan: plan.total))


def _plan(
    shape: Shape, size: GraphSize, budget: Budget, needs: Needs, *, recompute: bool, living: Living
) -> Plan:
    block = min(shape.block_rows, size.num_entities)
    table, network = shape.row * size.num_entities, 4 * shape.network
    here = table if living == "device" else 0
    row_state = needs.moments * shape.row if needs.row_state is None else needs.row_state
    whole_gradient = needs.whole_gradient and shape.sampling is None
    beside = row_state + shape.row * (needs.average + whole_gradient)
    tile = 4 * min(shape.batch, STRIP_ROWS) * block
    sampled = {} if shape.sampling is None else _sampled(shape, shape.sampling, size, needs, row_state)
    tile = sampled.get("score tile", tile)
    step = _encoder(shape, recompute) + tile
    ranking = _ranking(shape, block) if needs.validated else 0
    parts = {
        "interpreter": 0 if needs.accelerator else needs.held + LATER_BYTES,
        "compiler": 0 if needs.accelerator else needs.compiling * COMPILING_BYTES,
        "parameters": here + network,
        "gradient": network + (here if whole_gradient else shape.row * block),
        "optimiser": needs.moments * network + (row_state * size.num_entities if here else 0),
        "averaged weights": needs.average * (here + network),
        "rows from elsewhere": 0 if living == "device" else _window(block * (shape.row + beside), needs),
        "encoder": _encoder(shape, recompute),
        "score tile": tile,
        "ranking": max(0, ranking - step) if needs.cleanup else ranking,
        "checkpoint": _checkpoint(shape, size, needs, row_state),
        "graph index": 0 if needs.accelerator else _index(size, shape.batch),
        **sampled,
    }
    return Plan(
        parts={name: part for name, part in parts.items() if part},
        block_rows=shape.block_rows,
        evaluation_chunk=shape.evaluation_chunk,
        recompute=recompute,
        table=living,
        disk_bytes=(shape.row + beside) * size.num_entities if living == "disk" else 0,
        budget=budget,
    )


def plan_scoring(shape: Shape, size: GraphSize, budget: Budget, *, held: int) -> Plan:
    """Loading a model and ranking with it, the table in memory or, where that does not fit, in mapped files."""
    block = min(shape.block_rows, size.num_entities)
    table, network = shape.row * size.num_entities, 4 * shape.network
    largest_file = max(min(ROW_FILE_BLOCKS * shape.block_rows, size.num_entities) * shape.row, network)
    plans = [
        Plan(
            parts={
                "interpreter": held + LATER_BYTES,
                "parameters": network + (table if living == "device" else WINDOW_BYTES + shape.row * block),
                "ranking": _ranking(shape, block),
                "checkpoint": largest_file,
                "graph index": _index(size, shape.evaluation_chunk),
            },
            block_rows=shape.block_rows,
            evaluation_chunk=shape.evaluation_chunk,
            table=living,
            disk_bytes=table if living == "disk" else 0,
            budget=budget,
        )
        for living in ("device", "disk")
    ]
    fitting = (plan for plan in plans if plan.total <= budget.bytes)
    return next(fitting, min(plans, key=lambda plan: plan.total))


def _encoder(shape: Shape, recompute: bool) -> int:
    """Maps kept, two chunks of maps, and small tensors of the batch: images, vectors, dropout masks, their gradients."""
    chunk = min(shape.batch, CHUNK_ROWS)
    kept = 0 if recompute else shape.batch * shape.features
    return 4 * (kept + 2 * chunk * shape.features) + shape.batch * (32 * shape.image + 64 * shape.dim)


def _ranking(shape: Shape, block: int) -> int:
    chunk = shape.evaluation_chunk
    return 4 * (min(chunk, CHUNK_ROWS) * shape.features + 3 * chunk * block) + 40 * chunk * shape.dim


def _sampled(
    shape: Shape, sampling: Sampling, size: GraphSize, needs: Needs, row_state: int
) -> dict[str, int]:
    """The parts that follow from candidates in place of all entities: rows named, twice as they are added up, and the
    rows of one block with their state and what the optimiser makes of them."""
    candidates = sampling.candidates(shape.batch, size)
    touched = min(needs.accumulation * (candidates + shape.batch), size.num_entities + candidates)
    waiting = 3 * candidates * (24 + 4 * sampling.groups)  # batches made ahead
    return {
        "gradient": 4 * shape.network + 2 * touched * shape.row,
        "score tile": 4 * sampling.tiles * strip_rows(shape.batch, candidates) * candidates,
        "update": min(shape.block_rows, touched) * (4 * shape.row + row_state),
        "drawing": 0 if needs.accelerator else sampling.tables + waiting,
    }


def _window(staged: int, needs: Needs) -> int:
    """Mapped pages before they are dropped and one block with its state; from host memory the block alone."""
    return staged if needs.accelerator else staged + WINDOW_BYTES


def _checkpoint(shape: Shape, size: GraphSize, needs: Needs, row_state: int) -> int:
    """The largest file of a checkpoint, which is held once more while it is written."""
    rows = min(ROW_FILE_BLOCKS * shape.block_rows, size.num_entities)
    return max(rows * max(shape.row, row_state), max(1, needs.moments) * 4 * shape.network)


def _index(size: GraphSize, batch: int) -> int:
    """Order of an epoch, and mapped pages of two indexes: of large ones what a batch touches before they are dropped."""
    pages = 16 * size.num_queries + 16 * size.num_train
    return 4 * size.num_queries + 2 * min(pages, max(RELEASED_BYTES, 3 * batch * _AROUND_BYTES))
