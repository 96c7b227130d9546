"""Taxonomies in hyperbolic space as a run: what it will use, how it is trained, validated and loaded."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import PositiveFloat, PositiveInt

from corollary.budget import Budget, Plan, resident_bytes
from corollary.config import Config
from corollary.errors import ConfigError, GraphError, InputError, RunError, UnknownName, unknown
from corollary.evaluation.reconstruction import (
    Space,
    average_precisions,
    filtered_ranks,
    reconstruct,
    sample_rows,
)
from corollary.evaluation.withholding import (
    PAIRS,
    PARENTS,
    Withheld,
    above_rank,
    groups_of_rank,
    nodes_under_ranks,
    parents_of_leaves,
    random_pairs,
    withhold,
)
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels import on_disk
from corollary.kernels.taxonomy.rows import new_table
from corollary.learners.planning import COMPILING_BYTES
from corollary.learners.poincare import Poincare, PoincareConfig
from corollary.messages import Say, silent
from corollary.records.run_folder import RunFolder
from corollary.runs.config import RunOptions
from corollary.runs.run import Run
from corollary.runs.training import train
from corollary.training import checkpoints
from corollary.training.loop import Loop, LoopConfig, Observer
from corollary.training.poincare_steps import PoincareSteps
from corollary.training.tracking import tracker_bytes

_NODE_BYTES = 60  # index and weights of negatives
_LINK_BYTES = 112  # while the index is made (measured at 2.6 million nodes)
_PAIR_BYTES = 60  # the same of a pair, where pairs are listed


class PoincareTraining(LoopConfig):
    """How long a taxonomy is trained. A rate is the hyperbolic length of a first step."""

    epochs: PositiveInt = 2
    """Passes over the ancestor pairs."""
    lr: PositiveFloat = 0.1
    """First learning rate."""
    validate_every: PositiveInt = 1
    """Epochs between validations."""


class TaxonomyEvaluation(Config):
    """How a taxonomy is validated."""

    sample: PositiveInt = 1000
    """Nodes of the fixed sample that validation asks."""
    metric: Literal["map", "mrr"] = "map"
    """Validation figure that chooses the best checkpoint and stops training."""
    checkpoint: Literal["best", "final"] = "final"
    """Weights that figures and queries are made with."""


class PoincareRunConfig(RunOptions):
    """Everything that decides a run, but for the graph."""

    model: PoincareConfig = PoincareConfig()
    training: PoincareTraining = PoincareTraining()
    evaluation: TaxonomyEvaluation = TaxonomyEvaluation()


def train_poincare(
    graph: Graph | ImportConfig | str | Path,
    output: str | Path,
    config: PoincareRunConfig | None = None,
    *,
    observer: Observer | None = None,
    say: Say = silent,
) -> Run:
    """Embed the taxonomy of a graph folder or of loose files, measure it, write a run folder: see `train`."""
    return train(KIND, graph, output, config or PoincareRunConfig(), observer=observer, say=say)


class PoincareKind:
    """What `kinds.Kind` asks for."""

    name = "poincare"
    options = PoincareRunConfig

    def settled(
        self, options: PoincareRunConfig, graph: Graph, device: torch.device, say: Say
    ) -> PoincareRunConfig:
        """The updates are compiled for the CPU; early stopping needs withheld pairs; the graph has to be a taxonomy.

        Raises `InputError` for a cycle, and as `Taxonomy.of` and `rank_groups` do.
        """
        if device.type != "cpu":
            say(f"poincare trains on the CPU: its updates go pair by pair, and {device.type} is left alone")
        if options.training.early_stopping and options.model.held_out == 0:
            raise ConfigError(
                "early stopping needs withheld pairs to stop by: --held-out 0.02 withholds one in fifty"
            )
        taxonomy = Taxonomy.of(graph, options.model.relations or None, closed=options.model.closed)
        for rank in options.model.held_out_ranks:
            rank_groups(taxonomy, graph, rank)
        return options

    def plan(
        self,
        graph: Graph,
        options: PoincareRunConfig,
        *,
        device: torch.device | None = None,
        loaded: int | None = None,
    ) -> Plan:
        """Bytes by part. Nothing can be left out or done in parts, so there is one way.

        A taxonomy with several parents has as many pairs as its closure: where the import did not count them, 20 a node.
        """
        held = resident_bytes() if loaded is None else loaded
        nodes, links = graph.num_entities, graph.info.num_triples["train"]
        model = options.model
        withheld = bool(model.held_out or model.held_out_parents or model.held_out_ranks)
        listed = links >= nodes or withheld or not model.closed
        counted = graph.info.notes.get("taxonomy", {}).get("pairs", 20 * nodes)
        pairs = counted if model.closed else links
        vectors = 8 * nodes * (model.dim + 2)
        working = {
            "index": _LINK_BYTES * links + (_PAIR_BYTES * pairs if listed else 0),
            "placement": vectors,
            "checkpoint": 2 * vectors,
            "validation": vectors + 64 * 20 * options.evaluation.sample,
        }
        parts = {
            "this process": held + tracker_bytes(options.tracking),
            "compiler": 0 if on_disk() else COMPILING_BYTES,
            "nodes with their state": 8 * nodes * _columns(model.dim),
            "index of the taxonomy": _NODE_BYTES * nodes + (8 * pairs if listed else 0),
            "largest working memory": max(working.values()),
        }
        plan = Plan(parts=parts, block_rows=1, evaluation_chunk=16, budget=Budget.parse(options.memory_limit))
        smaller = sum(parts.values()) - 8 * nodes * (_columns(model.dim) - _columns(4))
        return plan.check(f"poincare on {graph.name}", {"--dim 4": smaller} if model.dim > 4 else None)

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: PoincareRunConfig,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> Loop:
        """The training, on the CPU whatever the device."""
        taxonomy, withheld = build_taxonomy(options, graph)
        learner = Poincare(options.model, taxonomy, seed=options.seed)
        steps = PoincareSteps(learner)
        validation = Validation(taxonomy, withheld, options)

        def validate() -> Mapping[str, float]:
            return {**validation.figures(learner.embeddings), **steps.counts()}

        return Loop(
            learner,
            steps,
            graph,
            options.training,
            folder,
            seed=options.seed,
            device=torch.device("cpu"),
            validate=validate,
            metric=options.evaluation.metric,
            planned_bytes=plan.total,
            observer=observer,
        )

    def checkpoint(self, options: PoincareRunConfig) -> str:
        return options.evaluation.checkpoint

    def conclude(self, run: Run, say: Say) -> Mapping[str, float | None]:
        """Reconstruction on the fixed sample, written to `taxonomy.json` until `analyze-taxonomy` writes more there."""
        embedded = Embedded.of(run)
        figures = Validation(embedded.taxonomy, embedded.withheld, embedded.options).figures(embedded.points)
        run.folder.write_json("taxonomy.json", {"sample": figures})
        return figures


KIND = PoincareKind()


class Embedded:
    """A finished run with its taxonomy and its points."""

    def __init__(
        self,
        graph: Graph,
        options: PoincareRunConfig,
        taxonomy: Taxonomy,
        withheld: Withheld | None,
        points: Float[np.ndarray, "nodes dim"],
    ) -> None:
        self.graph, self.options, self.taxonomy = graph, options, taxonomy
        self.withheld, self.points = withheld, points

    @classmethod
    def of(cls, run: Run) -> "Embedded":
        """Load the weights of the run's checkpoint. Memory: as in training, but for the optimiser."""
        options = options_of(run)
        taxonomy, withheld = build_taxonomy(options, run.graph)
        model = options.model
        blank = model.changed(placement=model.placement.changed(name="random"))
        learner = Poincare(blank, taxonomy, seed=options.seed)
        checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
        return cls(run.graph, options, taxonomy, withheld, learner.embeddings)

    @cached_property
    def full(self) -> Taxonomy:
        """The taxonomy with every ancestor pair, withheld ones included."""
        if self.withheld is not None:
            return self.withheld.full
        return Taxonomy.of(self.graph, self.options.model.relations or None)

    @cached_property
    def names(self) -> list[str]:
        """What people read, by row."""
        return [self.graph.entities.name(int(entity)) for entity in self.taxonomy.entity_ids]

    def find(self, text: str) -> int:
        """The row of a label or a name. Raises `UnknownName`, or `InputError` where it is no node of the taxonomy."""
        entity = self.graph.entities.find(text, where=str(self.graph.path))
        rows = self.taxonomy.rows
        if entity >= len(rows) or rows[entity] < 0:
            raise InputError(f"{text!r} is in the graph, but has no place in its taxonomy")
        return int(rows[entity])


def options_of(run: Run) -> PoincareRunConfig:
    """Of a run of poincare. Raises `RunError` for another learner's."""
    options = run.options
    if not isinstance(options, PoincareRunConfig):
        raise RunError(f"{run.path} is a run of {run.kind.name}, and this is for runs of poincare")
    return options


def build_taxonomy(options: PoincareRunConfig, graph: Graph) -> tuple[Taxonomy, Withheld | None]:
    """What is trained on, and the pairs that are kept from it."""
    model = options.model
    taxonomy = Taxonomy.of(graph, model.relations or None, closed=model.closed)
    marks = {}
    if model.held_out:
        marks[PAIRS] = random_pairs(taxonomy, model.held_out, seed=options.seed)
    if model.held_out_parents:
        marks[PARENTS] = parents_of_leaves(taxonomy, model.held_out_parents, seed=options.seed)
    groups = {rank: rank_groups(taxonomy, graph, rank) for rank in model.held_out_ranks}
    chosen = nodes_under_ranks(taxonomy, groups, model.held_out_nodes, seed=options.seed)
    marks |= {rank: above_rank(taxonomy, groups[rank], rows) for rank, rows in chosen.items()}
    if not marks:
        return taxonomy, None
    withheld = withhold(taxonomy, marks)
    return withheld.left, withheld


def rank_groups(taxonomy: Taxonomy, graph: Graph, rank: str) -> Int[np.ndarray, " nodes"]:
    """See `groups_of_rank`. Raises `GraphError` where the graph has no ranks, `UnknownName` where it has others."""
    if graph.types is None:
        raise GraphError(f"graph {graph.name} has no ranks: import the taxonomy with a rank column")
    names = graph.info.node_types
    if rank not in names:
        raise UnknownName(unknown("rank", rank, names, where=str(graph.path)))
    return groups_of_rank(taxonomy, graph.types, names.index(rank))


class Validation:
    """Ranks on a fixed sample: of withheld ancestors where pairs are withheld, else of all ancestors."""

    def __init__(self, taxonomy: Taxonomy, withheld: Withheld | None, options: PoincareRunConfig) -> None:
        self.taxonomy = taxonomy
        self.withheld = withheld if withheld is not None and PAIRS in withheld.parts else None
        sample = options.evaluation.sample
        if self.withheld is None:
            self.rows = sample_rows(taxonomy, sample, seed=0)
        else:
            self.lists = self.withheld.lists(PAIRS, sample)

    def figures(self, points: Float[np.ndarray, "nodes dim"]) -> dict[str, float]:
        """MAP, mean rank and mean reciprocal rank."""
        if self.withheld is None:
            found = reconstruct(Space.hyperbolic(points), self.taxonomy, self.rows)
            return {"map": found.map, "mean_rank": found.mean_rank, "mrr": found.mrr}
        rows, offsets, targets, known_offsets, known = self.lists
        space = Space.hyperbolic(self.withheld.moved(points))
        ranks = filtered_ranks(space, rows, offsets, targets, known_offsets, known)
        return {
            "map": float(average_precisions(ranks, offsets).mean()),
            "mean_rank": float(ranks.mean()),
            "mrr": float((1 / ranks).mean()),
        }


def _columns(dim: int) -> int:
    return new_table(0, dim).shape[1]
