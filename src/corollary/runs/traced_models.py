"""The checkpoints of a run that influence is summed over, opened and checked, and the bytes that it takes."""

from dataclasses import dataclass

import torch

from corollary.budget import Budget, Plan, resident_bytes
from corollary.errors import RunDamaged, RunError
from corollary.explain.factors import Frozen
from corollary.explain.influence import Checkpoint
from corollary.learners.conve import ConvE
from corollary.learners.conve_config import ConvEConfig
from corollary.learners.planning import LATER_BYTES
from corollary.learners.projection import CHUNK_ROWS
from corollary.learners.row_storage import WINDOW_BYTES
from corollary.runs.conve import build_learner
from corollary.runs.device import settle_threads
from corollary.runs.run import Run
from corollary.training import checkpoints

LARGEST_BLOCK, SMALLEST_BLOCK = 1024, 16
"""Training triples that go by together."""


def checkpoint_names(run: Run) -> list[str]:
    """Those kept for good by `checkpoint_frequency`, oldest first; without any, the one that predicts."""
    every = run.config.training.checkpoint_frequency
    kept = []
    for path in run.folder.epoch_checkpoints() if every else []:
        manifest = checkpoints.read_manifest(path)
        if every and manifest.step == 0 and manifest.epoch % every == 0:
            kept.append(path.name)
    return kept or [run.folder.finished_checkpoint(run.checkpoint).name]


def open_checkpoints(
    run: Run, names: list[str], plan: Plan, *, learning_rate: float | None = None
) -> list[Checkpoint]:
    """Models in evaluation mode with their learning rates.

    Raises `RunDamaged` naming the checkpoint that is not whole, is of another architecture, or holds numbers that are
    not finite; `RunError` where a learning rate is missing.
    """
    settle_threads()
    found = []
    for name in names:
        folder = run.folder.finished_checkpoint(name)
        learner = build_learner(run.config, run.graph, plan=plan, folder=run.path)
        manifest = checkpoints.load(folder, learner)
        rate = manifest.learning_rate if learning_rate is None else learning_rate
        if not 0 < rate < float("inf"):
            raise RunError(
                f"{folder / 'manifest.json'} has learning rate {rate}, and influence is a sum of gradients times "
                "learning rates: give one with --learning-rate"
            )
        _check_finite(learner, str(folder))
        found.append(Checkpoint(folder.name, Frozen(learner.eval()), rate))
    return found


def _check_finite(learner: ConvE, where: str) -> None:
    values = {**dict(learner.named_parameters()), **dict(learner.named_buffers())}
    odd = next((name for name, value in values.items() if not value.isfinite().all()), None)
    if odd is None:
        table = learner.entities
        for rows in table.block_slices():
            odd = next((n for n, part in zip(table.parts, table.block(rows), strict=False)
                        if part is not None and not part.isfinite().all()), odd)  # fmt: skip
    if odd is not None:
        raise RunDamaged(f"{where} holds numbers in {odd!r} that are not finite: use another checkpoint")


@dataclass(frozen=True)
class Work:
    """What decides the bytes of an influence run, beside its models."""

    asked: int
    """Triples asked about."""
    checkpoints: int
    candidates: int
    results: int
    """Bytes of what is kept of them."""


def plan_influence(run: Run, work: Work, budget: Budget, *, block: int | None = None) -> tuple[Plan, int]:
    """The plan and the triples of one block: the largest that fits. Raises `PlanDoesNotFit` where none does."""
    settle_threads()
    held, found = resident_bytes(), []
    sizes = [block] if block else _halved(LARGEST_BLOCK, SMALLEST_BLOCK)
    for living in ("device", "disk"):
        for size in sizes:
            plan = _plan(run, work, budget, size, living=living, held=held)
            if plan.total <= budget.bytes:
                return plan, size
            found.append(plan)
    smallest = min(found, key=lambda plan: plan.total)
    smallest.check(f"influence with {run.path}")
    raise AssertionError("a plan that does not fit is refused")


def _halved(most: int, least: int) -> list[int]:
    sizes = [most]
    while sizes[-1] // 2 >= least:
        sizes.append(sizes[-1] // 2)
    return sizes


def _plan(run: Run, work: Work, budget: Budget, block: int, *, living: str, held: int) -> Plan:
    config, size = run.config.model, run.graph.size
    rows = min(config.block_rows, size.num_entities)
    row_bytes = 4 * (config.embedding_dim + config.entity_bias)
    table = row_bytes * size.num_entities
    features = config.features()
    network = 4 * config.embedding_dim * (features + config.directed(size.num_relations) + 8)
    sides = 2 if config.sides == "both" else 1
    examples, asked = sides * min(block, work.candidates), sides * work.asked
    example = _example(config)
    return Plan(
        parts={
            "interpreter": held + LATER_BYTES,
            "models": work.checkpoints * (network + (table if living == "device" else 0)),
            "rows from disk": 0 if living == "device" else WINDOW_BYTES + row_bytes * rows,
            "asked triples": work.checkpoints * asked * example + 4 * asked * rows * 2,
            "block of triples": examples * example + 4 * CHUNK_ROWS * 3 * features,
            "score tile": 4 * examples * rows,
            "products": 4 * examples * asked * 8,
            "results": work.results + 40 * work.candidates,
        },
        block_rows=config.block_rows,
        evaluation_chunk=CHUNK_ROWS,
        table="device" if living == "device" else "disk",
        disk_bytes=0 if living == "device" else table * work.checkpoints,
        budget=budget,
    )


def _example(config: ConvEConfig) -> int:
    """Bytes of one example's factors, its query's among them, and of what they are made from."""
    written = config.channels * (config.kernel**2 + 2) + 2 * config.embedding_dim
    return 4 * (config.features() + 3 * written + 18 * config.embedding_dim)


def weights_of(names: list[str], run: Run) -> dict[str, str]:
    """Checksums of every weight file of these checkpoints, from their manifests."""
    found = {}
    for name in names:
        folder = run.folder.finished_checkpoint(name)
        for file, checksum in checkpoints.read_manifest(folder).files.items():
            if not file.startswith(("optimizer", "average")):
                found[f"{name}/{file}"] = checksum
    return found


def threads() -> int:
    """Threads of matrix products: a part of what the bytes of a result depend on."""
    return torch.get_num_threads()
