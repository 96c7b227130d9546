"""What the explorer shows: a graph, its runs, and the functions that ask them, handed in by the command.

The functions stand for the models, so that this room does without torch.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol, TypeVar

from corollary.errors import InputError, UnknownName
from corollary.graph.answers import AnswerIndex
from corollary.graph.folder import Graph
from corollary.graph.vocabulary import Vocabulary
from corollary.messages import Say
from corollary.records.explanation import Explanation, Rescored
from corollary.records.rule_sheet import RuleSheet, Which
from corollary.records.run_folder import RunFolder
from corollary.web.search import SearchIndex

T = TypeVar("T")
Side = Literal["head", "tail"]
_SUGGESTED = 3
_WORKERS = 4


@dataclass(frozen=True)
class Shown:
    """A run that the page shows."""

    name: str
    """Unlike every other's."""
    learner: str
    folder: RunFolder
    ranks: bool
    """Whether it can be asked for answers."""
    side: Side | None = None
    """The one side that it can be asked for; None: both."""
    embeds: Literal["table", "disk"] | None = None
    """Whether it has an embedding for every entity, or one of a taxonomy that can be drawn as a disk."""


@dataclass(frozen=True)
class Question:
    """A triple with one end open, in labels of the graph."""

    head: str | None
    relation: str
    tail: str | None

    @property
    def side(self) -> Side:
        """The end that is asked for."""
        return "tail" if self.tail is None else "head"


@dataclass(frozen=True)
class Answered:
    """One answer to a question. `known`: some split of the graph holds it."""

    place: int
    label: str
    name: str
    score: float
    known: bool


@dataclass(frozen=True)
class Asked:
    """A triple to be explained, in labels, by some of the runs."""

    head: str
    relation: str
    tail: str
    side: Side
    runs: tuple[str, ...]


class Cancelled(Exception):
    """An explanation ended because nobody wants it any more."""


class Predict(Protocol):
    """Best answers of a run, best first."""

    def __call__(self, run: str, question: Question, k: int, new_only: bool) -> list[Answered]: ...


class Explain(Protocol):
    """All reasons for one prediction. Tells `say` each part that it begins; raises `Cancelled` once `cancelled()`."""

    def __call__(self, asked: Asked, say: Say, cancelled: Callable[[], bool]) -> Explanation: ...


class WhatIf(Protocol):
    """Ranks of a prediction without some training triples, given by number. Raises `ConfigError` where no run can."""

    def __call__(self, asked: Asked, facts: Mapping[int, tuple[int, int, int]]) -> list[Rescored]: ...


class RuleOf(Protocol):
    """A rule of a run by its formula, with some of its pairs."""

    def __call__(self, run: str, formula: str, which: Which, offset: int, limit: int) -> RuleSheet: ...


class Near(Protocol):
    """Entities that a model puts nearest to one, with their cosine, nearest first."""

    def __call__(self, entity: int, count: int) -> list[tuple[int, float]]: ...


class Health(Protocol):
    """Figures and verdict on the embeddings of a run that has a table of them."""

    def __call__(self, run: str) -> Mapping[str, Any]: ...


class Disk(Protocol):
    """A picture of the embedded taxonomy of a run, as PNG."""

    def __call__(self, run: str) -> bytes: ...


@dataclass(frozen=True)
class Site:
    """Everything that pages are made of."""

    graph: Graph
    runs: tuple[Shown, ...]
    identity: str
    """Digest of graph, runs, options and version: what is shown depends on it and on the address alone."""
    predict: Predict
    explain: Explain
    search: SearchIndex
    what_if: WhatIf
    rule: RuleOf
    near: Near | None = None
    """None where no run has an embedding for every entity."""
    health: Health | None = None
    disk: Disk | None = None
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_WORKERS, "page"))

    @property
    def ranking(self) -> tuple[Shown, ...]:
        """Runs that can be asked."""
        return tuple(run for run in self.runs if run.ranks)

    def run(self, name: str) -> Shown:
        """Raises `UnknownName` naming the runs there are."""
        for run in self.runs:
            if run.name == name:
                return run
        raise UnknownName(
            f"there is no run {name!r} here; there are {', '.join(run.name for run in self.runs)}"
        )

    def entity(self, text: str) -> int:
        """Id of a label, or of a name that one entity bears; see `UnknownName` for what is suggested."""
        return self._find(self.graph.entities, text)

    def relation(self, text: str) -> int:
        """The same of a relation."""
        return self._find(self.graph.relations, text)

    def _find(self, vocabulary: Vocabulary, text: str) -> int:
        """Like `Vocabulary.find`, whose suggestion compares with every label: that takes seconds in a large graph."""
        if rows := vocabulary.labels.rows_of(text):
            return rows[0]
        rows = vocabulary.names.rows_of(text) if vocabulary.names is not None and text else []
        if len(rows) == 1:
            return rows[0]
        if rows:
            bearers = ", ".join(vocabulary.labels[row] for row in rows[:5])
            raise InputError(f"{text!r} names {len(rows)} entities: {bearers}. Give the label of one.")
        near = ""
        if vocabulary.kind == "entity":
            found = [self.graph.entities.label(one) for one in self.search.find(text, limit=_SUGGESTED)]
            near = f" Near it: {', '.join(map(repr, found))}." if found else ""
        raise UnknownName(f"{vocabulary.kind} {text[:200]!r} is not in graph {self.graph.name}.{near}")

    def answers(self, name: str) -> AnswerIndex:
        """The graph's answers of a split, opened once."""
        return _answers(self.graph, name)

    async def work(self, make: Callable[[], T]) -> T:
        """Make something in one of a few threads; whoever asked may leave before it is done."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, make)

    def close(self) -> None:
        """Let go of threads and files."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.search.close()


@cache
def _answers(graph: Graph, name: str) -> AnswerIndex:
    return graph.answers(name)
