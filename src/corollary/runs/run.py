"""A finished or running training, opened: its folder, its graph, its model."""

import os
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Int
from pydantic import ValidationError

from corollary.budget import MIB, Budget
from corollary.errors import GraphDamaged, GraphError, GraphMismatch, RunDamaged, RunError
from corollary.evaluation.metrics import Evaluation
from corollary.graph.folder import Graph
from corollary.learners.conve import ConvE
from corollary.learners.protocol import Scorer
from corollary.records.run_folder import RunFolder
from corollary.runs.config import RunConfig, RunOptions, from_record
from corollary.runs.kinds import KINDS, Kind, Ranking, RankingKind, kind_of

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

    def without(self, triples: Int[np.ndarray, "removed 3"]) -> Self:
        """The same weights on the graph without some training triples, for learners that score from facts."""
        return type(self)(
            self.folder,
            self.graph.without(triples),
            checkpoint=self._checkpoint,
            device=self.device,
            memory_limit=self._memory_limit,
        )

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def kind(self) -> Kind:
        """The learner that was trained. Raises `RunDamaged` where it is none that this version knows."""
        name = self.folder.config.get("learner")
        if name not in KINDS:
            raise RunDamaged(
                f"{self.path / 'config.json'} names learner {name!r}; this version knows {', '.join(KINDS)}"
            )
        return kind_of(name)

    @cached_property
    def options(self) -> RunOptions:
        """The run's configuration, validated again."""
        kind = self.kind.options
        return kind.build(from_record(self.folder.config, kind), where=str(self.path / "config.json"))

    @property
    def config(self) -> RunConfig:
        """The configuration of a run of ConvE. Raises `RunError` for another learner's."""
        if not isinstance(self.options, RunConfig):
            raise RunError(f"{self.path} is a run of {self.kind.name}, and this is for runs of conve")
        return self.options

    @property
    def budget(self) -> Budget:
        """Memory that scoring may use."""
        return Budget.parse(self._memory_limit or self.options.memory_limit)

    @property
    def checkpoint(self) -> str:
        """Name of the checkpoint that figures and predictions are made with."""
        return self._checkpoint or self.kind.checkpoint(self.options)

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

    @property
    def ranking(self) -> Ranking:
        """How its facts are ranked. Raises `RunError` for a learner that scores no facts."""
        return self._ranking_kind.ranking(self.options)

    @cached_property
    def scorer(self) -> Scorer:
        """The learner in evaluation mode. Raises `PlanDoesNotFit` where it cannot be had within the memory limit."""
        return self._ranking_kind.scorer(self)

    @property
    def model(self) -> ConvE:
        """The scorer of a run of ConvE. Raises `RunError` for another learner's."""
        found = self.scorer
        if not isinstance(found, ConvE):
            raise RunError(f"{self.path} is a run of {self.kind.name}, and this is for runs of conve")
        return found

    @property
    def _ranking_kind(self) -> RankingKind:
        if not isinstance(self.kind, RankingKind):
            instead = f": ask corollary analyze-taxonomy {self.path}" if self.kind.name == "poincare" else ""
            raise RunError(f"{self.path} is a run of {self.kind.name}, which does not rank facts{instead}")
        return self.kind


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
