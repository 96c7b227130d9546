"""Opened runs as the functions that the explorer asks: the page itself does without models."""

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from corollary.errors import ConfigError
from corollary.messages import Say
from corollary.records.explanation import Explanation, Rescored
from corollary.records.rule_sheet import RuleSheet, Which
from corollary.records.run_folder import RunFolder
from corollary.runs.embeddings import embedding_health, embeds, nearest
from corollary.runs.explaining.explain import Cancelled as Stopped
from corollary.runs.explaining.explain import ExplainConfig, Explainer
from corollary.runs.explaining.rule_sheet import rule_sheet
from corollary.runs.kinds import RankingKind
from corollary.runs.poincare.asking import draw
from corollary.runs.poincare.kind import Embedded
from corollary.runs.predicting import Question as AskedOf
from corollary.runs.predicting import predict
from corollary.runs.run import Run
from corollary.web.search import SearchIndex
from corollary.web.site import Answered, Asked, Cancelled, Question, Shown, Site

T = TypeVar("T")
_TAXONOMY = "poincare"
_KEPT = 8
"""Choices of runs whose fitted ensembles are kept."""


class Models:
    """The same runs opened twice: answers do not wait for an explanation, and neither meets the other's buffers."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        index: Path | None = None,
        graph: Path | None = None,
        device: str = "cpu",
        memory_limit: str | None = None,
    ) -> None:
        """
        Args:
            index: folder of `tracin index`, for influence over all training triples.
            graph: the graph folder of runs that rank facts, where it has moved.
        """

        def opened() -> list[Run]:
            return [
                Run.open(
                    path,
                    graph=None if _is_taxonomy(path) else graph,
                    device=device,
                    memory_limit=memory_limit,
                )
                for path in paths
            ]

        self._index, self._memory_limit = index, memory_limit
        self._asked, self._explained = opened(), opened()
        names = [run.folder.name for run in self._asked]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise ConfigError(f"two of the runs are named {double}: rename one of the folders")
        self._config = ExplainConfig(influence="near" if index is None else "index")
        self._whole = Explainer(self._explained, self._config, index=index, memory_limit=memory_limit)
        self._explainers: dict[tuple[str, ...], Explainer] = {tuple(names): self._whole}
        self._lock, self._choosing = threading.Lock(), threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}

    @property
    def graph_path(self) -> Path:
        """Of the runs that rank facts."""
        return self._whole.graph.path

    def predict(self, run: str, question: Question, k: int, new_only: bool) -> list[Answered]:
        """Best answers of a run. One question at a time: a scorer has buffers of its own."""
        chosen = next(one for one in self._asked if one.folder.name == run)
        asked = AskedOf(question.head, question.relation, question.tail)
        with self._lock:
            found = predict(chosen, [asked], k=k, new_only=new_only)
        return [
            Answered(one.place, one.label, one.name, one.score, one.known)
            for one in found.predictions[0].answers
        ]

    def explain(self, asked: Asked, say: Say, cancelled: Callable[[], bool]) -> Explanation:
        """All reasons for one prediction, by the runs that it names. Called by one thread at a time."""
        explainer = self._explainer(asked.runs)
        try:
            return explainer.explain(
                asked.head, asked.relation, asked.tail, side=asked.side, say=say, cancelled=cancelled
            )
        except Stopped as stopped:
            raise Cancelled(str(stopped)) from None

    def what_if(self, asked: Asked, facts: Mapping[int, tuple[int, int, int]]) -> list[Rescored]:
        """The prediction without some facts, by every run that can score again."""
        with self._lock:
            return self._explainer(asked.runs).without(
                asked.head, asked.relation, asked.tail, facts, side=asked.side
            )

    def rule(self, run: str, formula: str, which: Which, offset: int, limit: int) -> RuleSheet:
        """One rule of a run, with some of its pairs."""
        chosen = next(one for one in self._asked if one.folder.name == run)
        return rule_sheet(chosen, formula, which=which, offset=offset, limit=limit)

    def health(self, run: str) -> Mapping[str, Any]:
        """How the embeddings of a run stand, by type. Memory: the table four times, in float64."""
        return self._once("health", run, lambda chosen: embedding_health(chosen).model_dump(mode="json"))

    def disk(self, run: str) -> bytes:
        """The disk of an embedded taxonomy as PNG."""

        def drawn(chosen: Run) -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "disk.png"
                draw(Embedded.of(chosen), path, None)
                return path.read_bytes()

        return self._once("disk", run, drawn)

    def _once(self, what: str, run: str, make: Callable[[Run], T]) -> T:
        """Made at the first wish, and kept."""
        with self._lock:
            if (what, run) not in self._made:
                self._made[what, run] = make(next(one for one in self._asked if one.folder.name == run))
            found: T = self._made[what, run]
        return found

    def warm(self) -> None:
        """Ask every run one question, so that the first reader does not wait for weights and compiled loops."""
        for run in self._asked:
            if isinstance(run.kind, RankingKind):
                label, relation = run.graph.entities.label(0), run.graph.relations.label(0)
                relation = next(iter(run.ranking.targets), relation)
                ends = (None, relation, label) if run.ranking.side == "head" else (label, relation, None)
                self.predict(run.folder.name, Question(*ends), 1, False)

    def site(self, folder: Path) -> Site:
        """Everything that the page is made of.

        Args:
            folder: where the search index is, or is made.
        """
        graph = self._whole.graph
        embedded = next((run for run in self._asked if embeds(run)), None)

        def near(entity: int, count: int) -> list[tuple[int, float]]:
            assert embedded is not None
            with self._lock:
                return nearest(embedded, entity, count)

        index = SearchIndex.of(graph, folder)
        ask = near if embedded is not None else None
        return Site(
            graph,
            self._shown(),
            self._identity(),
            self.predict,
            self.explain,
            index,
            self.what_if,
            self.rule,
            ask,
            self.health,
            self.disk,
        )

    def _shown(self) -> tuple[Shown, ...]:
        found = []
        for run in self._asked:
            ranks = isinstance(run.kind, RankingKind)
            side = run.ranking.side if ranks else None
            kind: Literal["table", "disk"] | None = "disk" if run.kind.name == _TAXONOMY else None
            kind = "table" if embeds(run) else kind
            found.append(Shown(run.folder.name, run.kind.name, run.folder, ranks, side, kind))
        return tuple(found)

    def _explainer(self, names: tuple[str, ...]) -> Explainer:
        with self._choosing:
            if names not in self._explainers:
                runs = [run for run in self._explained if run.folder.name in names]
                found = Explainer(runs, self._config, index=self._index, memory_limit=self._memory_limit)
                while len(self._explainers) >= _KEPT:
                    self._explainers.pop(next(name for name in self._explainers if name != names))
                self._explainers[names] = found
            return self._explainers[names]

    def _identity(self) -> str:
        """Changes with graph, runs, their weights, options and version."""
        runs = [
            [
                run.folder.name,
                run.checkpoint,
                run.folder.config,
                sorted(
                    (file.name, file.stat().st_size, file.stat().st_mtime_ns)
                    for file in (run.path / "checkpoints" / run.checkpoint).glob("*")
                ),
            ]
            for run in self._asked
        ]
        content = [
            self._whole.graph.fingerprint, runs, self._config.model_dump(mode="json"), str(self._index),
            version("corollary"),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_taxonomy(path: Path) -> bool:
    """Its graph is another than that of the runs that rank facts."""
    return RunFolder.open(path).config.get("learner") == _TAXONOMY
