"""The bytes that an influence run takes, by part, and which of the ways through it fits a limit.

Nothing here changes a result: the limit decides what is held in place of being made again for every unit of triples, and
whether the entity table lies in memory or in mapped files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from corollary.budget import Budget, Plan, resident_bytes
from corollary.explain.influence import UNIT, Hold
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.planning import LATER_BYTES, ROW_FILE_BLOCKS
from corollary.learners.projection import CHUNK_ROWS
from corollary.learners.row_storage import WINDOW_BYTES
from corollary.runs.device import settle_threads
from corollary.runs.run import Run

BF16_BYTES = 40 << 20
"""Of compiled code and small buffers for products of bf16 factors (measured: 36 to 42 MiB)."""

DIRECTION_BLOCKS = 4
"""Blocks of rows that filling and scaling a direction takes: each makes one while the last one is still there."""


@dataclass(frozen=True)
class Work:
    """What decides the bytes of an influence run, beside its models.

    Args:
        asked: triples asked about.
        sides: directions in which they are asked.
        checkpoints: of each run.
        unit: training triples that go by together.
        results: bytes of what is kept of the candidates.
        pairs: whether lengths of gradients are made.
        adam: whether directions in the parameters are made.
        recompute: feature maps are to be made again whether or not they would fit.
        bf16: products have bf16 factors.
    """

    asked: int
    checkpoints: int
    candidates: int
    results: int
    unit: int = UNIT
    sides: int = 2
    pairs: bool = False
    adam: bool = False
    recompute: bool = False
    bf16: bool = False


@dataclass(frozen=True)
class Way:
    """One of the exact ways."""

    hold: Hold
    living: str


def choose_way(runs: Sequence[Run], work: Work, budget: Budget) -> tuple[Plan, Hold]:
    """The first way that fits. Raises `PlanDoesNotFit` where none does. For an accelerator the limit is not looked at.

    Args:
        runs: one, or the members of an ensemble.
    """
    settle_threads()
    held, found = resident_bytes(), []
    for way in _ways(work):
        plan = _plan(runs, work, budget, way, held)
        if plan.total <= budget.bytes or runs[0].device.startswith("cuda"):
            return plan, way.hold
        found.append(plan)
    smallest = min(found, key=lambda plan: plan.total)
    remedies = {}
    if work.unit > 64:
        fewer = replace(work, unit=64)
        remedies["--batch-size 64"] = min(_plan(runs, fewer, budget, way, held).total for way in _ways(fewer))
    smallest.check(f"influence with {runs[0].path}", remedies)
    raise AssertionError("a plan that does not fit is refused")


def plan_influence(run: Run, work: Work, budget: Budget, *, block: int | None = None) -> tuple[Plan, int]:
    """The plan of one run with everything held, and the triples of one block, for whoever makes an `Influence` by hand."""
    settle_threads()
    work, held = replace(work, unit=block or work.unit, pairs=True), resident_bytes()
    plans = [_plan([run], work, budget, Way(Hold(), living), held) for living in ("device", "disk")]
    fitting = (plan for plan in plans if plan.total <= budget.bytes)
    plan = next(fitting, plans[-1])
    return plan.check(f"influence with {run.path}"), work.unit


def _ways(work: Work) -> Iterator[Way]:
    """The fastest first."""
    maps = not work.recompute
    yield Way(Hold(maps, True, True), "device")
    if work.adam:
        yield Way(Hold(maps, True, False), "device")
    yield Way(Hold(maps, False, False), "device")
    yield Way(Hold(False, False, False), "device")
    yield Way(Hold(False, False, False), "disk")


def _plan(runs: Sequence[Run], work: Work, budget: Budget, way: Way, held: int) -> Plan:
    total: dict[str, int] = {
        "interpreter": held + LATER_BYTES,
        "results": work.results + 160 * work.candidates,
    }
    for run in runs:
        for name, part in _held(run, work, way).items():
            total[name] = total.get(name, 0) + part
    for name, part in _passing(runs[0], work, way).items():
        total[name] = max(total.get(name, 0), part)
    config, size = runs[0].config.model, runs[0].graph.size
    on_disk = way.living == "disk"
    copies = work.checkpoints * (2 if work.adam else 1) + work.adam
    return Plan(
        parts={name: part for name, part in total.items() if part},
        block_rows=config.block_rows,
        evaluation_chunk=CHUNK_ROWS,
        recompute=not way.hold.maps,
        table="disk" if on_disk else "device",
        disk_bytes=len(runs) * copies * _row(config) * size.num_entities if on_disk else 0,
        budget=budget,
    )


def _held(run: Run, work: Work, way: Way) -> dict[str, int]:
    """What stays from the first unit to the last, for one run."""
    config, size = run.config.model, run.graph.size
    table = 0 if way.living == "disk" else _row(config) * size.num_entities
    network = 4 * config.embedding_dim * (config.features() + config.directed(size.num_relations) + 8)
    asked, points = work.sides * work.asked, work.checkpoints
    directions = points * _directions(work, way)
    return {
        "models": points * (network + table) * (2 if work.adam else 1),
        "asked triples": points * asked * (_example(config) + 4 * config.features()),
        "their deltas": points * 4 * asked * size.num_entities if way.hold.deltas else 0,
        "their directions": directions * (network + table),
    }


def _passing(run: Run, work: Work, way: Way) -> dict[str, int]:
    """What one unit takes, the same for every run."""
    config, size = run.config.model, run.graph.size
    rows, row = min(config.block_rows, size.num_entities), _row(config)
    sides = 2 if config.sides == "both" else 1
    examples, asked = sides * min(work.unit, work.candidates), work.sides * work.asked
    chunk = 4 * min(CHUNK_ROWS, examples) * config.features()
    kept = 4 * examples * config.features() if way.hold.maps else chunk
    file = max(
        min(ROW_FILE_BLOCKS * config.block_rows, size.num_entities) * row,
        4 * config.embedding_dim * config.features(),
    )
    on_disk = WINDOW_BYTES + row * rows * (2 + 2 * work.adam)
    along = 4 * examples * (config.embedding_dim + 1) * _directions(work, way)
    return {
        "checkpoint": file,
        "rows from disk": 0 if way.living == "device" else on_disk,
        "making directions": DIRECTION_BLOCKS * row * rows if work.adam else 0,
        "sums along directions": along,
        "feature maps": kept + chunk * (2 + work.pairs + 2 * work.adam),
        "unit": examples * _example(config),
        "score tile": 4 * examples * rows * (3 if work.pairs else 1) + 8 * asked * rows,
        "products": 4 * examples * asked * 6,
        "bf16 factors": _halves(config, examples, asked, rows) if work.bf16 else 0,
        "graph index": min(32 * size.num_train + 16 * size.num_queries, 64 << 20),
    }


def _halves(config: ConvEConfig, examples: int, asked: int, rows: int) -> int:
    """What products of bf16 factors take: compiled code, and copies of the factors of the largest ones."""
    maps = (CHUNK_ROWS + asked + config.embedding_dim) * config.features()
    return BF16_BYTES + 2 * (maps + (examples + asked) * rows)


def _directions(work: Work, way: Way) -> int:
    """Those that are held at one checkpoint."""
    return (work.asked if way.hold.directions else 1) if work.adam else 0


def _row(config: ConvEConfig) -> int:
    """Bytes of one entity's weights."""
    return 4 * (config.embedding_dim + config.entity_bias)


def _example(config: ConvEConfig) -> int:
    """Bytes of one example's factors, its query's among them, and of what they are made from, but for feature maps."""
    written = config.channels * (config.kernel**2 + 2) + 2 * config.embedding_dim
    return 4 * (3 * written + 18 * config.embedding_dim)
