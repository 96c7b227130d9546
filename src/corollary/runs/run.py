"""A finished or running training, opened: its folder, its graph, its model."""

import os
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from pydantic import ValidationError

from corollary.budget import MIB, Budget, Plan, resident_bytes
from corollary.errors import GraphDamaged, GraphError, GraphMismatch, RunDamaged
from corollary.evaluation.metrics import Evaluation
from corollary.graph.folder import Graph
from corollary.learners import LEARNERS
from corollary.learners.conve import ConvE
from corollary.learners.row_storage import RowStorage
from corollary.losses.workspace import Precision
from corollary.records.run_folder import RunFolder
from corollary.runs.config import RunConfig, from_record
from corollary.runs.device import settle_threads
from corollary.training import checkpoints

VERIFIED_AT_ONCE = 256 * MIB
"""Graphs whose checksums are compared whenever a run is opened: 0.3 seconds. Larger ones where they are trained on or
evaluated with."""


class Run:
    """A run folder with its graph. The model is loaded when it is first needed, from `best/`, else from `final/`."""

    def __init__(
        self,
        folder: RunFolder,
        graph: Graph,
        *,
        checkpoint: str | None = None,
        device: str = "cpu",
        memory_limit: str | int | None = None,
    ) -> None:
        self.folder, self.graph, self.device, self._checkpoint = folder, graph, device, checkpoint
        self._memory_limit = memory_limit

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        graph: str | Path | None = None,
        checkpoint: str | None = None,
        device: str = "cpu",
        memory_limit: str | int | None = None,
    ) -> Self:
        """Open a run.

        Args:
            graph: the graph folder, where it is no longer where the run was trained.
            checkpoint: `best`, `final` or `epoch-0003`.
            device: where the model is put: cpu, cuda, cuda:1, mps.
            memory_limit: most resident memory while scoring, such as 1GiB; not given: the run's own. Where the entity
                table does not fit it is mapped from a file.

        Raises `GraphMismatch` where the graph is another one than the run was trained on.
        """
        folder = RunFolder.open(path)
        recorded = _recorded_graph(folder)
        place = Path(graph) if graph is not None else _recorded_place(folder.path, recorded["path"])
        try:
            opened = Graph.open(place)
        except GraphDamaged:
            raise
        except GraphError as error:
            if graph is not None:
                raise
            raise GraphError(f"{error} {path} was trained on it; name its place with --graph.") from None
        if opened.fingerprint != recorded["fingerprint"]:
            raise GraphMismatch(
                f"{opened.path} (fingerprint {opened.fingerprint[:12]}) is not the graph that {path} was trained on "
                f"({recorded['name']}, {recorded['fingerprint'][:12]}): name the right one with --graph"
            )
        opened.verify(most=VERIFIED_AT_ONCE)
        return cls(folder, opened, checkpoint=checkpoint, device=device, memory_limit=memory_limit)

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def config(self) -> RunConfig:
        """The run's configuration, validated again."""
        return RunConfig.build(from_record(self.folder.config), where=str(self.path / "config.json"))

    @property
    def checkpoint(self) -> str:
        """Name of the checkpoint that figures and predictions are made with."""
        return self._checkpoint or self.config.evaluation.checkpoint

    @property
    def evaluation(self) -> Evaluation | None:
        """Figures on the test split, as `evaluation.json` holds them; None where there are none yet."""
        if not (self.path / "evaluation.json").exists():
            return None
        try:
            return Evaluation.model_validate(self.folder.read_json("evaluation.json"))
        except ValidationError:
            raise RunDamaged(
                f"{self.path / 'evaluation.json'} is damaged: write it again with corollary evaluate {self.path}"
            ) from None

    @cached_property
    def model(self) -> ConvE:
        """The learner in evaluation mode. Raises `PlanDoesNotFit` where it cannot be had within the memory limit."""
        settle_threads()
        plan = Plan.model_validate(self.folder.config["plan"])
        limit = self._memory_limit or self.config.memory_limit
        if not self.device.startswith("cuda"):
            budget = Budget.parse(limit)
            plan = ConvE.plan_scoring(self.config.model, self.graph.size, budget, held=resident_bytes())
            plan.check(f"scoring with {self.path}")
        learner = build_learner(self.config, self.graph, device=self.device, plan=plan, folder=self.path)
        checkpoints.load(self.folder.finished_checkpoint(self.checkpoint), learner)
        return learner.eval()


def build_learner(
    config: RunConfig,
    graph: Graph,
    *,
    device: torch.device | str = "cpu",
    plan: Plan | None = None,
    folder: Path | None = None,
    precision: Precision = "fp32",
) -> ConvE:
    """A fresh learner for a graph, its weights a function of the seed.

    Args:
        plan: says where the entity table lives and whether feature maps are made again; on the device, no, without.
        folder: where mapped files go, for a table that lives on disk.
    """
    kind, _ = LEARNERS["conve"]
    living = plan.table if plan is not None else "device"
    return kind(
        config.model,
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        seed=config.seed,
        device=device,
        storage=RowStorage(device, living, folder if living == "disk" else None),
        precision=precision,
        recompute=plan is not None and plan.recompute,
    )


def place_to_record(run: Path, graph: Path) -> str:
    """Relative to the run folder where the graph lies in it or beside it, so that both can be moved; else absolute."""
    run, graph = run.resolve(), graph.resolve()
    return os.path.relpath(graph, run) if graph.is_relative_to(run.parent) else str(graph)


def _recorded_graph(folder: RunFolder) -> dict[str, str]:
    """What `config.json` says of the graph. Raises `RunDamaged` where it does not say it."""
    recorded = folder.config.get("graph")
    if not isinstance(recorded, dict) or not {"path", "name", "fingerprint"} <= set(recorded):
        raise RunDamaged(f"{folder.path / 'config.json'} is damaged: it does not say which graph was used")
    return recorded


def _recorded_place(run: Path, recorded: str) -> Path:
    return Path(os.path.normpath(run.resolve() / recorded))
