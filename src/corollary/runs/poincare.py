"""Taxonomies in hyperbolic space as a run: what it will use, how it is trained, validated and loaded."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt

from corollary.budget import Budget, Plan, resident_bytes
from corollary.config import Config
from corollary.errors import ConfigError
from corollary.evaluation.reconstruction import (
    Space,
    average_precisions,
    filtered_ranks,
    reconstruct,
    sample_rows,
)
from corollary.evaluation.withholding import Withheld, withhold_pairs
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig
from corollary.graph.taxonomy import Taxonomy
from corollary.kernels import hyperbolic, on_disk
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
        """The updates are compiled for the CPU; early stopping needs withheld pairs."""
        if device.type != "cpu":
            say(f"poincare trains on the CPU: its updates go pair by pair, and {device.type} is left alone")
        if options.training.early_stopping and options.model.held_out == 0:
            raise ConfigError(
                "early stopping needs withheld pairs to stop by: --held-out 0.02 withholds one in fifty"
            )
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

        A taxonomy with several parents has as many pairs as its closure: they are counted as 20 a node.
        """
        held = resident_bytes() if loaded is None else loaded
        nodes, links = graph.num_entities, graph.info.num_triples["train"]
        model = options.model
        dag = links >= nodes or model.held_out > 0 or not model.closed
        vectors = 8 * nodes * (model.dim + 2)
        working = {
            "index": _LINK_BYTES * links,
            "placement": vectors,
            "checkpoint": 2 * vectors,
            "validation": vectors + 64 * 20 * options.evaluation.sample,
        }
        parts = {
            "this process": held + tracker_bytes(options.tracking),
            "compiler": 0 if on_disk() else COMPILING_BYTES,
            "nodes with their state": 8 * nodes * _columns(model.dim),
            "index of the taxonomy": _NODE_BYTES * nodes + (160 * nodes if dag else 0),
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
        options = run.options
        if not isinstance(options, PoincareRunConfig):
            from corollary.errors import RunError

            raise RunError(f"{run.path} is a run of {run.kind.name}, and this is for runs of poincare")
        taxonomy, withheld = build_taxonomy(options, run.graph)
        model = options.model
        blank = model.changed(placement=model.placement.changed(name="random"))
        learner = Poincare(blank, taxonomy, seed=options.seed)
        checkpoints.load(run.folder.finished_checkpoint(run.checkpoint), learner)
        return cls(run.graph, options, taxonomy, withheld, learner.embeddings)

    @cached_property
    def full(self) -> Taxonomy:
        """The taxonomy with every ancestor pair, withheld ones included."""
        return Taxonomy.of(self.graph, self.options.model.relations or None)

    @cached_property
    def names(self) -> list[str]:
        """What people read, by row."""
        return [self.graph.entities.name(int(entity)) for entity in self.taxonomy.entity_ids]

    def find(self, text: str) -> int:
        """The row of a label or a name. Raises `UnknownName`, or `InputError` where it is no node of the taxonomy."""
        from corollary.errors import InputError

        entity = self.graph.entities.find(text, where=str(self.graph.path))
        rows = self.taxonomy.rows
        if entity >= len(rows) or rows[entity] < 0:
            raise InputError(f"{text!r} is in the graph, but has no place in its taxonomy")
        return int(rows[entity])


def build_taxonomy(options: PoincareRunConfig, graph: Graph) -> tuple[Taxonomy, Withheld | None]:
    """What is trained on, and the pairs that are kept from it."""
    model = options.model
    taxonomy = Taxonomy.of(graph, model.relations or None, closed=model.closed)
    if model.held_out == 0:
        return taxonomy, None
    withheld = withhold_pairs(taxonomy, model.held_out, seed=options.seed)
    return withheld.left, withheld


class Validation:
    """Ranks on a fixed sample: of withheld ancestors where some are, else of all ancestors."""

    def __init__(self, taxonomy: Taxonomy, withheld: Withheld | None, options: PoincareRunConfig) -> None:
        self.taxonomy, self.withheld = taxonomy, withheld
        sample = options.evaluation.sample
        if withheld is None:
            self.rows = sample_rows(taxonomy, sample, seed=0)
        else:
            self.lists = withheld.lists(sample)

    def figures(self, points: Float[np.ndarray, "nodes dim"]) -> dict[str, float]:
        """MAP, mean rank and mean reciprocal rank."""
        space = Space.hyperbolic(points)
        if self.withheld is None:
            found = reconstruct(space, self.taxonomy, self.rows)
            return {"map": found.map, "mean_rank": found.mean_rank, "mrr": found.mrr}
        rows, offsets, targets, known_offsets, known = self.lists
        ranks = filtered_ranks(space, rows, offsets, targets, known_offsets, known)
        return {
            "map": float(average_precisions(ranks, offsets).mean()),
            "mean_rank": float(ranks.mean()),
            "mrr": float((1 / ranks).mean()),
        }


def _columns(dim: int) -> int:
    return hyperbolic.new_table(0, dim).shape[1]
