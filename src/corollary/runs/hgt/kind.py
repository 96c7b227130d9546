"""HGT as a run: what it will use, how it is trained, ranked and loaded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from corollary.budget import Budget, Plan, resident_bytes
from corollary.errors import ConfigError
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.graph.typed_links import BLOCK_ROWS, TypedLinks
from corollary.kernels import on_disk
from corollary.learners.hgt import planning
from corollary.learners.hgt.model import Hgt
from corollary.learners.hgt.planning import Sizes
from corollary.learners.planning import COMPILING_BYTES, LATER_BYTES
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.device import settle_threads
from corollary.runs.hgt.checks import check_types
from corollary.runs.hgt.features import feature_bytes, read_features
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.hgt.reporting import conclude_hgt
from corollary.runs.kinds import Ranking, Rescores
from corollary.runs.run import Run
from corollary.runs.training import train
from corollary.training import checkpoints
from corollary.training.loop import Loop, Observer
from corollary.training.optimizers import state_bytes
from corollary.training.steps import GradientSteps
from corollary.training.tracking import tracker_bytes

CHUNK = 256
"""Queries ranked at once."""


def train_hgt(
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    config: HgtOptions | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Train HGT on a graph folder or loose files, rank the test triples beside simple baselines: see `training.train`."""
    return train(KIND, graph, output, config or HgtOptions(), observer=observer, say=say)


class HgtKind:
    """What `kinds.Kind` and `kinds.RankingKind` ask for."""

    name = "hgt"
    rescores: Rescores = "slowly"
    options = HgtOptions

    def settled(self, options: HgtOptions, graph: Graph, device: torch.device, say: Say) -> HgtOptions:
        """Says what the types of the graph leave out."""
        if options.training.early_stopping and not has_valid(graph):
            raise ConfigError(
                f"early stopping needs validation triples, and {graph.path} has none: split it first"
            )
        check_types(graph, say)
        read_features(graph, options.model.features)
        found = {name: path.resolve() for name, path in options.model.features.items()}
        return options.changed(model=options.model.changed(features=found)) if found else options

    def plan(
        self,
        graph: Graph,
        options: HgtOptions,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        return plan_hgt(graph, options, device=device, loaded=loaded)

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: HgtOptions,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> Loop:
        training = options.training
        learner = build_hgt(options, graph, device=device).asks(graph, options.links, options.sampling)
        steps = GradientSteps(
            learner,
            training.optimizer,
            device=device,
            accumulation=training.accumulation,
            clip_norm=training.clip_norm,
        )

        def validate() -> Mapping[str, float]:
            ranks = rank_split(
                learner, graph, "valid", filter="train+valid", chunk=plan.evaluation_chunk,
                block_rows=plan.block_rows, hits=options.evaluation.hits, resamples=0,
                ties=options.evaluation.ties,
            )  # fmt: skip
            return {name: value for name, value in ranks.metrics.values().items() if value is not None}

        return Loop(
            learner,
            steps,
            graph,
            training,
            folder,
            seed=options.seed,
            device=device,
            validate=validate if has_valid(graph) else None,
            metric=options.evaluation.metric,
            planned_bytes=plan.total,
            observer=observer,
        )

    def checkpoint(self, options: HgtOptions) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        return conclude_hgt(run, say)

    def scorer(self, run: Run) -> Hgt:
        """The weights of the run's checkpoint; embeddings are made from all training edges when they are first needed."""
        settle_threads()
        options = run.options
        assert isinstance(options, HgtOptions)
        plan_scoring(run.graph, options, run.budget).check(f"scoring with {run.path}")
        learner = build_hgt(options, run.graph, device=run.device)
        checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
        return learner.eval()

    def ranking(self, options: HgtOptions) -> Ranking:
        return Ranking(options.evaluation, None)


KIND = HgtKind()


def build_hgt(options: HgtOptions, graph: Graph, *, device: torch.device | str = "cpu") -> Hgt:
    """A fresh learner for a graph, its weights a function of the seed."""
    return Hgt(
        options.model,
        TypedLinks.of(graph),
        num_relations=graph.num_relations,
        seed=options.seed,
        device=device,
        features=read_features(graph, options.model.features),
    )


def has_valid(graph: Graph) -> bool:
    return graph.info.num_triples.get("valid", 0) > 0


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


def plan_hgt(
    graph: Graph, options: HgtOptions, *, device: torch.device | None = None, loaded: int | None = None
) -> Plan:
    """Bytes of a training by part. Raises `PlanDoesNotFit` with what would fit."""
    accelerator = device is not None and device.type == "cuda"
    budget = Budget.parse(options.memory_limit)
    if accelerator and budget.limit is None:
        budget = Budget(limit=torch.cuda.get_device_properties(device).total_memory)
    held = 0 if accelerator else resident_bytes() if loaded is None else loaded
    sizes = sizes_of(graph)
    plan = _planned(graph, options, sizes, budget, held)
    if plan.total <= budget.bytes:
        return plan
    smaller = _smaller_fan_outs(graph, options, sizes, budget, held)
    for width in (256, 128, 64, 32):
        if width < options.model.hidden_dim and width % options.model.attn == 0:
            model = options.model.changed(
                hidden_dim=width, embedding_dim=min(width, options.model.embedding_dim)
            )
            smaller[f"--hidden-dim {width} --embedding-dim {model.embedding_dim}"] = _planned(
                graph, options.changed(model=model), sizes, budget, held
            ).total
    return plan.check(f"hgt on {graph.name}", smaller)


def _smaller_fan_outs(
    graph: Graph, options: HgtOptions, sizes: Sizes, budget: Budget, held: int
) -> dict[str, int]:
    """The largest fan-outs, the same at every hop, that fit the budget; none where sampling is another."""
    if options.sampling.name != "neighbors":
        return {}
    hops = len(options.sampling.num_neighbors)
    for fan_out in range(max(options.sampling.num_neighbors), 0, -1):
        sampling = options.sampling.changed(num_neighbors=(fan_out,) * hops)
        total = _planned(graph, options.changed(sampling=sampling), sizes, budget, held).total
        if total <= budget.bytes:
            return {f"--num-neighbors {','.join([str(fan_out)] * hops)}": total}
    return {}


def _planned(graph: Graph, options: HgtOptions, sizes: Sizes, budget: Budget, held: int) -> Plan:
    model, optimizer = options.model, options.training.optimizer
    rows = sizes.graph.num_entities
    workers = options.training.num_workers
    if options.sampling.name == "none":
        training = planning.training_bytes(model, options.links, sizes, workers)
    else:
        training = planning.sampled_bytes(model, options.links, options.sampling, sizes, workers)
    ranked = planning.inference_bytes(model, sizes) + ranking_bytes(sizes)
    passing = training.pop("layers and their gradients")
    given = feature_bytes(model.features) + (4 * rows * model.hidden_dim if model.features else 0)
    return Plan(
        parts={
            "this process": held + LATER_BYTES + tracker_bytes(options.tracking),
            "compiler": 0 if on_disk() else COMPILING_BYTES,
            "input embeddings with their state": rows
            * (4 * model.hidden_dim + state_bytes(optimizer, model.hidden_dim, bias=False, sampled=True)),
            "weights with gradient and state": 4 * planning.weights(model, sizes) * (2 + optimizer.moments),
            "layers and their gradients, or a ranking": max(passing, ranked),
            "given features": given,
            **training,
        },
        block_rows=BLOCK_ROWS,
        evaluation_chunk=CHUNK,
        budget=budget,
    )


def plan_scoring(graph: Graph, options: HgtOptions, budget: Budget) -> Plan:
    """Bytes of loading a trained model and ranking with it."""
    sizes, model = sizes_of(graph), options.model
    return Plan(
        parts={
            "this process": resident_bytes() + LATER_BYTES,
            "input embeddings": 4 * sizes.graph.num_entities * model.hidden_dim,
            "weights": 4 * planning.weights(model, sizes),
            "edges": planning.links_bytes(sizes) + planning.building_bytes(sizes),
            "given features": feature_bytes(model.features),
            "a ranking": planning.inference_bytes(model, sizes) + ranking_bytes(sizes),
        },
        block_rows=BLOCK_ROWS,
        evaluation_chunk=CHUNK,
        budget=budget,
    )


def ranking_bytes(sizes: Sizes) -> int:
    """Tiles of scores, and the answers of a chunk."""
    return CHUNK * (BLOCK_ROWS * 12 + 100 * sizes.graph.max_answers)
