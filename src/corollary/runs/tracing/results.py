"""What `tracin` found: named results. `files.py` writes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from typing import Any, overload

import numpy as np
import pandas as pd
from jaxtyping import Int

from corollary.graph.folder import Graph
from corollary.graph.vocabulary import Vocabulary

CSV_COLUMNS = (
    "TestHead", "TestHead_label", "TestRel", "TestRel_label", "TestTail", "TestTail_label",
    "TrainHead", "TrainHead_label", "TrainRel", "TrainRel_label", "TrainTail", "TrainTail_label",
    "TracInScore", "SelfInfluence",
)  # fmt: skip


NAMES_KEPT = 65_536
"""Labels that are held while influences are listed."""
ROWS_AT_ONCE = 20_000
"""Influences whose names are in memory at a time while files are written."""


@dataclass(frozen=True)
class Named:
    """A triple: labels as the graph writes them, and what people read."""

    head: str
    head_name: str
    relation: str
    relation_name: str
    tail: str
    tail_name: str

    def __str__(self) -> str:
        return f"({self.head}, {self.relation}, {self.tail})"


@dataclass(frozen=True)
class Naming:
    """What triples are called: as the graph does, or as somebody gave it, by label."""

    graph: Graph
    entities: Mapping[str, str] = field(default_factory=dict)
    relations: Mapping[str, str] = field(default_factory=dict)
    _of_entities: dict[int, tuple[str, str]] = field(default_factory=dict, repr=False, compare=False)
    _of_relations: dict[int, tuple[str, str]] = field(default_factory=dict, repr=False, compare=False)

    def triple(self, triple: Sequence[int] | np.ndarray) -> Named:
        """A triple of ids."""
        head, relation, tail = (int(part) for part in triple)
        return Named(*self._entity(head), *self._relation(relation), *self._entity(tail))

    def row(self, row: int) -> Named:
        """A training triple."""
        return self.triple(self._train[row])

    @cached_property
    def _train(self) -> Int[np.ndarray, "train 3"]:
        return self.graph.triples("train")  # opens a file

    def _entity(self, entity: int) -> tuple[str, str]:
        return self._named(entity, self.graph.entities, self.entities, self._of_entities)

    def _relation(self, relation: int) -> tuple[str, str]:
        return self._named(relation, self.graph.relations, self.relations, self._of_relations)

    @staticmethod
    def _named(
        number: int, vocabulary: Vocabulary, given: Mapping[str, str], known: dict[int, tuple[str, str]]
    ) -> tuple[str, str]:
        """Reading a label takes longer than all else that is written of an influence."""
        if number not in known:
            if len(known) == NAMES_KEPT:
                known.clear()
            label = vocabulary.label(number)
            known[number] = label, given[label] if label in given else vocabulary.name(number)
        return known[number]


@dataclass(frozen=True)
class Support:
    """One training triple and its influence: above zero it supports what was asked, below it opposes it."""

    triple: Named
    row: int
    """Of the training split."""
    score: float
    by_checkpoint: dict[str, float] | None = None
    """What each checkpoint adds, where that was asked for."""


@dataclass(frozen=True, eq=False)
class Supports(Sequence[Support]):
    """Training triples with their influence, strongest first; names are looked up when one is taken.

    Memory: 12 bytes each.
    """

    naming: Naming
    rows: np.ndarray
    scores: np.ndarray
    by_checkpoint: Mapping[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Support: ...
    @overload
    def __getitem__(self, place: slice) -> list[Support]: ...
    def __getitem__(self, place: int | slice) -> Support | list[Support]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        parts = self.by_checkpoint
        by = None if parts is None else {name: float(part[place]) for name, part in parts.items()}
        row = int(self.rows[place])
        return Support(self.naming.row(row), row, float(self.scores[place]), by)


@dataclass(frozen=True)
class Share:
    """Influence of all candidates of one relation, or around one entity."""

    label: str
    support: float
    """Sum of influences above zero."""
    opposition: float
    """Sum of those below."""
    share: float
    """Of all support and opposition, without signs."""


@dataclass(frozen=True)
class PathListed:
    """One path from head to tail."""

    influence: float
    """Sum of its triples'."""
    share: float
    """Its size, of all support and opposition, without signs."""
    triples: list[Support]


@dataclass(frozen=True)
class PathShare:
    """Influence along all paths of one length from the head of the asked triple to its tail."""

    length: int
    num_paths: int
    num_triples: int
    """Distinct ones on them."""
    influence: float
    """Sum over paths of the sum over their triples."""
    support: float
    opposition: float
    """Sums over the distinct triples."""
    share: float
    """Of all support and opposition, without signs, that of these triples."""
    proponents: list[PathListed]
    opponents: list[PathListed]


@dataclass(frozen=True)
class Distribution:
    """How many influences are of what size, over all asked triples."""

    edges: list[float]
    """Of the bins: sizes without sign, one more than bins."""
    support: list[int]
    opposition: list[int]


@dataclass(frozen=True)
class FromIndex:
    """How the candidates were chosen whose influence was then made exactly."""

    folder: str
    rescored: int
    """Candidates of each sign that were."""
    recall: dict[str, float]
    """By k: share of the exact largest k that are among them, over the triples that were sampled as it was built."""


@dataclass(frozen=True)
class Traced:
    """An asked triple and what trained it."""

    triple: Named
    instead_of: str | None
    """The answer it was compared with, for a contrast."""
    self_influence: float
    """Of the asked triple on itself, as if it were a training example."""
    loss: float
    """Under the last checkpoint, both directions."""
    num_candidates: int
    support: float
    opposition: float
    """Sums of all influences above and below zero; those listed are the largest of them."""
    proponents: Supports
    opponents: Supports
    relations: list[Share] | None
    """None where not all candidates were looked at exactly."""
    entities: list[Share] | None
    paths: list[PathShare] | None = None


@dataclass(frozen=True)
class TracInResult:
    """Influences on every asked triple, and how they were computed."""

    run: str
    measure: str
    target: str
    deletion: str
    checkpoints: dict[str, float]
    """Names, with learning rates."""
    block: int
    planned_bytes: int
    peak_bytes: int
    triples: list[Traced]
    ensemble: list[str] = field(default_factory=list)
    """Other runs that the numbers are the mean with."""
    distribution: Distribution | None = None
    from_index: FromIndex | None = None

    def to_pandas(self) -> pd.DataFrame:
        """A row an influence, strongest support first: the asked triple, the training triple, score, self-influence."""
        return pd.DataFrame(list(self._rows()), columns=list(CSV_COLUMNS))

    def tables(self) -> Iterator[pd.DataFrame]:
        """The same, `ROWS_AT_ONCE` rows at a time."""
        rows = self._rows()
        while some := list(islice(rows, ROWS_AT_ONCE)):
            yield pd.DataFrame(some, columns=list(CSV_COLUMNS))

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for traced in self.triples:
            asked = tuple(asdict(traced.triple).values())
            for support in listed(traced):
                train = vars(support.triple).values()
                yield (*asked, *train, support.score, traced.self_influence)

    def as_dict(self) -> dict[str, Any]:
        """The content of `tracin_results.json`; peaks of memory are left out, so that two runs give the same bytes."""
        return {**self.about(), "triples": [_plain(_traced_dict(traced)) for traced in self.triples]}

    def streamed(self) -> dict[str, Any]:
        """The same for `JSONEncoder.iterencode`, triples and influences made when they are written."""
        return {**self.about(), "triples": _Streamed(_traced_dict(traced) for traced in self.triples)}

    def about(self) -> dict[str, Any]:
        """The same without the triples."""
        names = ("run", "measure", "target", "deletion", "checkpoints", "block", "ensemble")
        found = {name: getattr(self, name) for name in names}
        for name in ("distribution", "from_index"):
            if (part := getattr(self, name)) is not None:
                found[name] = asdict(part)
        return found


@dataclass(frozen=True)
class Suspect:
    """A training triple, how much it had to be learned by heart, and how badly it is known."""

    triple: Named
    row: int
    self_influence: float
    loss: float


@dataclass(frozen=True)
class Suspects:
    """Training triples by loss or by self-influence, the largest first."""

    run: str
    checkpoints: dict[str, float]
    ordered_by: str
    triples: list[Suspect]

    def to_pandas(self) -> pd.DataFrame:
        """A row a triple: labels, row, self_influence, loss."""
        rows = [
            {**asdict(s.triple), "row": s.row, "self_influence": s.self_influence, "loss": s.loss}
            for s in self.triples
        ]
        columns = [*Named.__dataclass_fields__, "row", "self_influence", "loss"]
        return pd.DataFrame(rows, columns=columns)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def renamed(result: TracInResult, entities: Mapping[str, str], relations: Mapping[str, str]) -> TracInResult:
    """The same result with other names for people to read, by label; those that are not given stay."""

    def again(triple: Named) -> Named:
        return replace(
            triple,
            head_name=entities.get(triple.head, triple.head_name),
            relation_name=relations.get(triple.relation, triple.relation_name),
            tail_name=entities.get(triple.tail, triple.tail_name),
        )

    def supports(found: Supports) -> Supports:
        return replace(found, naming=Naming(found.naming.graph, entities, relations))

    def path(found: PathListed) -> PathListed:
        return replace(found, triples=[replace(one, triple=again(one.triple)) for one in found.triples])

    def paths(found: PathShare) -> PathShare:
        best, worst = ([path(one) for one in some] for some in (found.proponents, found.opponents))
        return replace(found, proponents=best, opponents=worst)

    triples = [
        replace(
            t,
            triple=again(t.triple),
            proponents=supports(t.proponents),
            opponents=supports(t.opponents),
            paths=None if t.paths is None else [paths(one) for one in t.paths],
        )
        for t in result.triples
    ]
    return replace(result, triples=triples)


def listed(traced: Traced) -> Iterator[Support]:
    """Proponents, then opponents: influences in falling order."""
    return chain(traced.proponents, reversed(traced.opponents))


class _Streamed(list):
    """A list for the JSON encoder whose items are made when they are written."""

    def __init__(self, items: Iterable[Any]) -> None:
        items = iter(items)
        super().__init__(islice(items, 1))  # an empty list is written in another way
        self._later = items

    def __iter__(self) -> Iterator[Any]:
        return chain(super().__iter__(), self._later)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """With lists in place of streams."""
    return {name: list(part) if isinstance(part, _Streamed) else part for name, part in found.items()}


def _traced_dict(traced: Traced) -> dict[str, Any]:
    """In the names of the older scripts where they had one."""
    asked = traced.triple
    found: dict[str, Any] = {
        "test_head": asked.head, "test_head_label": asked.head_name,
        "test_relation": asked.relation, "test_relation_label": asked.relation_name,
        "test_tail": asked.tail, "test_tail_label": asked.tail_name,
    }  # fmt: skip
    if traced.instead_of is not None:
        found["instead_of"] = traced.instead_of
    for name in ("self_influence", "loss", "num_candidates", "support", "opposition"):
        found[name] = getattr(traced, name)
    found["influences"] = _Streamed(_support_dict(support) for support in listed(traced))
    for name in ("relations", "entities"):
        if (shares := getattr(traced, name)) is not None:
            found[name] = [asdict(share) for share in shares]
    if traced.paths is not None:
        found["paths"] = [_path_dict(share) for share in traced.paths]
    return found


def _path_dict(share: PathShare) -> dict[str, Any]:
    found = {name: part for name, part in vars(share).items() if name not in ("proponents", "opponents")}
    for name in ("proponents", "opponents"):
        found[name] = [
            {
                "influence": path.influence,
                "share": path.share,
                "triples": [_support_dict(one) for one in path.triples],
            }
            for path in getattr(share, name)
        ]
    return found


def _support_dict(support: Support) -> dict[str, Any]:
    train = support.triple
    found: dict[str, Any] = {
        "train_head": train.head, "train_head_label": train.head_name,
        "train_relation": train.relation, "train_relation_label": train.relation_name,
        "train_tail": train.tail, "train_tail_label": train.tail_name,
        "train_row": support.row, "influence": support.score,
    }  # fmt: skip
    if support.by_checkpoint is not None:
        found["by_checkpoint"] = support.by_checkpoint
    return found
