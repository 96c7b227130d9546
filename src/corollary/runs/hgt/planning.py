"""What an HGT run will use: sizes of the graph, the way that fits the limit, and what would fit where none does."""

from dataclasses import dataclass

import numpy as np
import torch

from corollary.budget import Budget, Plan, resident_bytes
from corollary.graph.folder import Graph
from corollary.graph.typed_links import BLOCK_ROWS
from corollary.kernels import on_disk
from corollary.learners.hgt import planning
from corollary.learners.hgt.planning import Sizes
from corollary.learners.planning import COMPILING_BYTES, LATER_BYTES
from corollary.learners.row_storage import WINDOW_BYTES, Living
from corollary.runs.hgt.features import feature_bytes
from corollary.runs.hgt.options import HgtOptions
from corollary.training.optimizers import state_bytes
from corollary.training.tracking import tracker_bytes

CHUNK = 256
"""Queries ranked at once."""


def plan_hgt(
    graph: Graph, options: HgtOptions, *, device: torch.device | None = None, loaded: int | None = None
) -> Plan:
    """Bytes of a training by part: with input embeddings in memory, or in mapped files where the limit asks for it.

    Raises `PlanDoesNotFit` with what would fit.
    """
    accelerator = device is not None and device.type != "cpu"
    budget = Budget.parse(options.memory_limit)
    if device is not None and device.type == "cuda" and budget.limit is None:
        budget = Budget(limit=torch.cuda.get_device_properties(device).total_memory)
    held = 0 if accelerator else resident_bytes() if loaded is None else loaded
    planner = _Planner(graph, sizes_of(graph), budget, held, accelerator)
    plan = planner.plan(options)
    if plan.total <= budget.bytes:
        return plan
    return plan.check(f"hgt on {graph.name}", planner.smaller(options))


def plan_scoring(graph: Graph, options: HgtOptions, budget: Budget, *, accelerator: bool = False) -> Plan:
    """Bytes of loading a trained model and ranking with it."""
    sizes, model = sizes_of(graph), options.model
    table = 4 * sizes.graph.num_entities * model.hidden_dim

    def plan(living: Living) -> Plan:
        mapped = living == "disk"
        return Plan(
            parts={
                "this process": resident_bytes() + LATER_BYTES,
                "input embeddings": min(table, WINDOW_BYTES) if mapped else table,
                "weights": 4 * planning.weights(model, sizes),
                "edges": planning.links_bytes(sizes) + planning.building_bytes(sizes),
                "given features": feature_bytes(model.features),
                "a ranking": planning.inference_bytes(model, sizes, mapped=mapped) + ranking_bytes(sizes),
            },
            block_rows=BLOCK_ROWS,
            evaluation_chunk=CHUNK,
            table=living,
            budget=budget,
        )

    return _first_that_fits([plan(living) for living in _ways(options, accelerator)])


def sizes_of(graph: Graph) -> Sizes:
    """What a plan is made of; edge types are counted from the triples."""
    rows = graph.num_entities
    types = max(1, len(graph.info.node_types) + 1)
    kinds = np.zeros(rows, np.int64) if graph.types is None else np.asarray(graph.types) % types
    head, relation, tail = np.asarray(graph.triples("train")).T
    code = (relation.astype(np.int64) * types + kinds[head]) * types + kinds[tail]
    found, numbers = np.unique(code, return_counts=True)
    ends = [(int(c // types % types), int(c % types), int(n)) for c, n in zip(found, numbers, strict=True)]
    both = tuple(ends) + tuple((target, source, count) for source, target, count in ends)
    by_type = tuple(np.bincount(kinds, minlength=types).tolist())
    return Sizes(graph.size, types, len(both), by_type, both)


def ranking_bytes(sizes: Sizes) -> int:
    """Tiles of scores, the answers of a chunk, and what popularity adds for its relations."""
    relations = min(CHUNK, 2 * sizes.graph.num_relations)
    popularity = 4 * sizes.graph.num_entities * (relations + 1)
    return CHUNK * (BLOCK_ROWS * 12 + 100 * sizes.graph.max_answers) + popularity


def _ways(options: HgtOptions, accelerator: bool) -> tuple[Living, ...]:
    """Where input embeddings may lie, the fastest first."""
    if accelerator:
        return ("device",)
    ways: dict[str, tuple[Living, ...]] = {
        "fit": ("device", "disk"),
        "memory": ("device",),
        "disk": ("disk",),
    }
    return ways[options.model.inputs]


def _first_that_fits(plans: list[Plan]) -> Plan:
    """The first that fits its budget, else the smallest."""
    fitting = (plan for plan in plans if plan.total <= plan.budget.bytes)
    return next(fitting, min(plans, key=lambda plan: plan.total))


@dataclass(frozen=True)
class _Planner:
    """Plans of one graph under one budget, for options that may change."""

    graph: Graph
    sizes: Sizes
    budget: Budget
    held: int
    accelerator: bool

    def plan(self, options: HgtOptions) -> Plan:
        """The first way that fits, else the smallest."""
        return _first_that_fits([self._way(options, living) for living in _ways(options, self.accelerator)])

    def smaller(self, options: HgtOptions) -> dict[str, int]:
        """Bytes of what a user could change."""
        found = self._smaller_parts(options)
        model = options.model
        for width in (256, 128, 64, 32):
            if width < model.hidden_dim and width % model.attn == 0:
                changed = model.changed(hidden_dim=width, embedding_dim=min(width, model.embedding_dim))
                name = f"--hidden-dim {width} --embedding-dim {changed.embedding_dim}"
                found[name] = self.plan(options.changed(model=changed)).total
        return found

    def _smaller_parts(self, options: HgtOptions) -> dict[str, int]:
        """The largest fan-outs, the same at every hop, or the largest width of a budget's rounds, that fit."""
        sampling = options.sampling
        if sampling.name == "neighbors":
            hops = len(sampling.num_neighbors)
            for fan_out in range(max(sampling.num_neighbors), 0, -1):
                total = self.plan(
                    options.changed(sampling=sampling.changed(num_neighbors=(fan_out,) * hops))
                ).total
                if total <= self.budget.bytes:
                    return {f"--num-neighbors {','.join([str(fan_out)] * hops)}": total}
        if sampling.name == "budget":
            width = sampling.width // 2
            while width:
                total = self.plan(options.changed(sampling=sampling.changed(width=width))).total
                if total <= self.budget.bytes:
                    return {f"--set sampling.width={width}": total}
                width //= 2
        return {}

    def _way(self, options: HgtOptions, living: Living) -> Plan:
        model, training, sizes = options.model, options.training, self.sizes
        rows, workers, mapped = sizes.graph.num_entities, training.num_workers, living == "disk"
        exact = options.sampling.name == "none"
        if exact:
            parts = planning.training_bytes(model, options.links, sizes, workers)
        else:
            parts = planning.sampled_bytes(model, options.links, options.sampling, sizes, workers)
        ranked = planning.inference_bytes(model, sizes, mapped=mapped) + ranking_bytes(sizes)
        passing = parts.pop("layers and their gradients")
        weight = 4 * rows * model.hidden_dim
        state = rows * state_bytes(training.optimizer, model.hidden_dim, bias=False, sampled=True)
        resident = (weight if exact else min(weight, WINDOW_BYTES)) if mapped else weight + state
        return Plan(
            parts={
                "this process": self.held + LATER_BYTES + tracker_bytes(options.tracking),
                "compiler": 0 if on_disk() else COMPILING_BYTES,
                "input embeddings" if mapped else "input embeddings with their state": resident,
                "weights with gradient and state": 4
                * planning.weights(model, sizes)
                * (2 + training.optimizer.moments),
                "layers and their gradients, or a ranking": max(passing, ranked),
                "given features": feature_bytes(model.features) + (weight if model.features else 0),
                **parts,
            },
            block_rows=BLOCK_ROWS,
            evaluation_chunk=CHUNK,
            table=living,
            disk_bytes=weight + state if mapped else 0,
            budget=self.budget,
        )
