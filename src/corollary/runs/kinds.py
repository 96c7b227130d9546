"""The learners that a run can be of, and what training, opening and evaluating need to know of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int

from corollary.budget import Plan
from corollary.graph.answers import Side
from corollary.graph.folder import Graph
from corollary.learners.protocol import Scorer
from corollary.messages import Say
from corollary.records.run_folder import RunFolder
from corollary.runs.config import EvaluationConfig, RunOptions
from corollary.training.loop import Loop, Observer

if TYPE_CHECKING:
    from corollary.runs.run import Run

KINDS = {
    "conve": "corollary.runs.conve",
    "drum": "corollary.runs.drum.kind",
    "hgt": "corollary.runs.hgt.kind",
    "drum-ensemble": "corollary.runs.drum.ensemble",
    "poincare": "corollary.runs.poincare.kind",
    "rules": "corollary.runs.rules.kind",
}
"""Names, and the modules that hold their `KIND`; imported when one is needed."""


class Kind(Protocol):
    """One learner as a run. The options that its methods take are of its own class."""

    name: str

    @property
    def options(self) -> type[RunOptions]:
        """The class of its options."""
        ...

    def settled(self, options: Any, graph: Graph, device: torch.device, say: Say) -> Any:
        """The options as they are recorded: what depends on device or graph is decided and said.

        Raises `ConfigError` where they do not go with the graph.
        """
        ...

    def plan(
        self, graph: Graph, options: Any, *, device: torch.device | None = None, loaded: int | None = None
    ) -> Plan:
        """Bytes by part, in the first of the exact ways that fits. Raises `PlanDoesNotFit`."""
        ...

    def loop(
        self,
        folder: RunFolder,
        graph: Graph,
        options: Any,
        plan: Plan,
        device: torch.device,
        observer: Observer | None,
    ) -> Loop:
        """The training, ready to start or to be resumed."""
        ...

    def checkpoint(self, options: Any) -> str:
        """Name of the checkpoint that figures and predictions are made with."""
        ...

    def conclude(self, run: "Run", say: Say) -> Mapping[str, float | None]:
        """Figures on held-out data after training, written to the run folder; empty where there is none."""
        ...


@dataclass(frozen=True)
class Ranking:
    """How the facts of a run are ranked."""

    evaluation: EvaluationConfig
    side: Side | None
    """The one side that can be asked for; None: both."""
    targets: tuple[str, ...] = ()
    """The relations that can be asked for; none named: all."""

    def relations(self, graph: Graph) -> Int[np.ndarray, " targets"] | None:
        """Ids of the targets; None: all relations."""
        return np.unique(graph.relations.find_all(self.targets, where="targets")) if self.targets else None

    @property
    def asked(self) -> str:
        """The targets in words, for messages."""
        one = len(self.targets) == 1
        return f"the target {self.targets[0]!r}" if one else f"the {len(self.targets)} targets"

    def triples(self, graph: Graph, split: str) -> Int[np.ndarray, "n 3"]:
        """Those of a split that are ranked: all, or those of the targets."""
        triples, relations = np.asarray(graph.triples(split)), self.relations(graph)
        return triples if relations is None else triples[np.isin(triples[:, 1], relations)]


Rescores = Literal["quickly", "slowly", "never"]
"""Whether the same weights give other scores when facts are taken out of the graph: `slowly` where all entities have
to be embedded anew for it, `never` where scores do not look at facts."""


@runtime_checkable
class RankingKind(Protocol):
    """A learner that scores entities as answers, so that `evaluate` and `predict` can ask it."""

    rescores: Rescores

    def scorer(self, run: "Run") -> Scorer:
        """In evaluation mode. Raises `PlanDoesNotFit` where it cannot be had within the memory limit."""
        ...

    def ranking(self, options: Any) -> Ranking: ...


def kind_of(name: str) -> Kind:
    """The learner of this name. Raises `KeyError`."""
    kind: Kind = import_module(KINDS[name]).KIND
    return kind
