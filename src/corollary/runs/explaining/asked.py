"""The prediction that is explained, and the one numbered list of facts that its reasons point into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int

from corollary.graph.answers import Side
from corollary.graph.folder import Graph
from corollary.learners.protocol import Queries
from corollary.records.explanation import Fact, Name, Status

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class AskedTriple:
    """A triple of ids, and which of its ends counts as the answer."""

    graph: Graph
    head: int
    relation: int
    tail: int
    side: Side

    @classmethod
    def of(cls, graph: Graph, head: str, relation: str, tail: str, *, side: Side = "tail") -> "AskedTriple":
        """From labels, names or ids. Raises `UnknownName` with the nearest name."""
        return cls(
            graph, graph.entities.find(head), graph.relations.find(relation), graph.entities.find(tail), side
        )

    @property
    def triple(self) -> Triple:
        return self.head, self.relation, self.tail

    @property
    def entity(self) -> int:
        """The end that is given."""
        return self.head if self.side == "tail" else self.tail

    @property
    def answer(self) -> int:
        return self.tail if self.side == "tail" else self.head

    @property
    def directed(self) -> int:
        return self.relation if self.side == "tail" else self.relation + self.graph.num_relations

    @property
    def queries(self) -> Queries:
        """The one question."""
        return Queries(torch.tensor([self.entity]), torch.tensor([self.directed]))

    @cached_property
    def known_answers(self) -> Int[np.ndarray, " answers"]:
        """Other answers of the query in any split."""
        found = self.known_of(self.entity, self.directed)
        return found[found != self.answer]

    def known_of(self, entity: int, directed: int, split: str = "known") -> Int[np.ndarray, " answers"]:
        """Answers of a query in a split, or in all."""
        return answers_of(self.graph, entity, directed, split)

    @cached_property
    def links_between(self) -> list[Triple]:
        """Training triples between the two ends, either way, but for the asked one."""
        count, found = self.graph.num_relations, []
        for relation in range(2 * count):
            if self.tail in self.known_of(self.head, relation, "train").tolist():
                ends = (self.head, self.tail) if relation < count else (self.tail, self.head)
                triple = (ends[0], relation % count, ends[1])
                if triple != self.triple:
                    found.append(triple)
        return found

    def status(self) -> Status:
        """What the graph says of it."""
        relations = sorted({relation for _, relation, _ in self.links_between})
        return Status(
            split=split_of(self.graph, self.triple),
            other_relations=[relation_name(self.graph, relation) for relation in relations],
            candidates=self.graph.num_entities - len(self.known_answers),
        )


def answers_of(graph: Graph, entity: int, directed: int, split: str) -> Int[np.ndarray, " answers"]:
    """Answers of one query in a split, ascending; none for a split that the graph has not."""
    if split != "known" and not graph.info.num_triples.get(split, 0):
        return np.zeros(0, np.int64)
    index = graph.answers(split)
    row = int(index.find(np.array([entity]), np.array([directed]))[0])
    if row < 0:
        return np.zeros(0, np.int64)
    return np.asarray(index.answers[index.offsets[row] : index.offsets[row + 1]], np.int64)


def split_of(graph: Graph, triple: Triple) -> str | None:
    """The first split that holds a triple."""
    head, relation, tail = triple
    for split in graph.splits:
        if tail in answers_of(graph, head, relation, split).tolist():
            return split
    return None


def sources_of(graph: Graph, triples: Sequence[Triple], splits: Sequence[str | None]) -> list[str | None]:
    """Where each triple was read from; None where no split holds it or the graph does not say.

    Cost: each split that is asked for is gone through once.
    """
    found: list[str | None] = [None] * len(triples)
    for split in {split for split in splits if split is not None}:
        codes = graph.edge_sources(split)
        if codes is None:
            return found
        mine = [at for at, other in enumerate(splits) if other == split]
        wanted = graph.numbers_of(np.array([triples[at] for at in mine]))
        held = graph.numbers_of(graph.triples(split))
        rows = np.flatnonzero(np.isin(held, wanted))
        by_number = dict(zip(held[rows].tolist(), codes[rows].tolist(), strict=True))
        for at, number in zip(mine, wanted.tolist(), strict=True):
            found[at] = graph.info.edge_sources[by_number[number]]
    return found


def relation_name(graph: Graph, relation: int) -> Name:
    return Name(id=relation, label=graph.relations.label(relation), name=graph.relations.name(relation))


def entity_name(graph: Graph, entity: int, degree: int | None = None) -> Name:
    """With its type, where the graph has types."""
    code = -1 if graph.types is None else int(graph.types[entity])
    return Name(
        id=entity,
        label=graph.entities.label(entity),
        name=graph.entities.name(entity),
        type=graph.info.node_types[code] if code >= 0 else None,
        degree=degree,
    )


@dataclass
class FactList:
    """Facts in the order in which they were first cited, and who cites them."""

    graph: Graph
    _numbers: dict[Triple, int] = field(default_factory=dict)
    _entities: dict[int, None] = field(default_factory=dict)
    _relations: dict[int, None] = field(default_factory=dict)
    _cited: dict[str, set[int]] = field(default_factory=dict)

    def cite(self, triple: Triple, by: str) -> int:
        """Number of a fact, from 1; a new one gets the next."""
        number = self._numbers.setdefault(triple, len(self._numbers) + 1)
        self._cited.setdefault(by, set()).add(number)
        self.mention(triple[0], triple[2])
        self._relations[triple[1]] = None
        return number

    def mention(self, *entities: int) -> None:
        """Entities that something names."""
        for entity in entities:
            self._entities[entity] = None

    def cited(self, by: str) -> set[int]:
        """Numbers of the facts that one kind of evidence cites."""
        return self._cited.get(by, set())

    @property
    def parts(self) -> list[str]:
        return list(self._cited)

    def __len__(self) -> int:
        return len(self._numbers)

    def triple(self, number: int) -> Triple:
        """A fact by its number."""
        return list(self._numbers)[number - 1]

    def facts(self) -> list[Fact]:
        """All of them, with the file that each was read from, where the graph remembers."""
        triples = list(self._numbers)
        splits = [split_of(self.graph, triple) for triple in triples]
        sources = sources_of(self.graph, triples, splits)
        return [
            Fact(id=number, head=t[0], relation=t[1], tail=t[2], split=split, source=source)
            for number, (t, split, source) in enumerate(zip(triples, splits, sources, strict=True), start=1)
        ]

    def entities(self, degrees: Int[np.ndarray, " entities"]) -> dict[int, Name]:
        """All that were named, by id."""
        return {e: entity_name(self.graph, e, int(degrees[e])) for e in sorted(self._entities)}

    def relations(self, also: Sequence[int] = ()) -> dict[int, Name]:
        return {r: relation_name(self.graph, r) for r in sorted({*self._relations, *also})}
