"""What a step asks: some training edges, hidden from the messages with all that says the same, and their candidates.

Which edges a step asks for is a function of (seed, epoch, step) and of the pair that each links. Candidates come from
train alone: an answer's own type, without what train knows to be true; that a fact stands in valid or test is never
looked at, so it can be drawn as a negative like any other (PyG issue 6946 is about those that do look).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt
from torch import Tensor

from corollary.errors import ConfigError, unknown
from corollary.graph.answers import AnswerIndex
from corollary.graph.folder import Graph
from corollary.graph.pairs import hidden_with, pair_numbers
from corollary.graph.typed_links import EdgeType, TypedLinks, TypedRows
from corollary.kernels.known_answers import known_among
from corollary.kernels.splitmix import words
from corollary.learners.hgt.config import LinksConfig, NegativesConfig
from corollary.learners.protocol import Place
from corollary.randomness import generator


@dataclass(frozen=True)
class Question:
    """Edges of one type, asked from one side. Rows are those of the nodes that messages run between."""

    relation: int
    """Directed."""
    asking: Int[Tensor, " distinct"]
    """Rows that ask, each once."""
    asked_by: Int[Tensor, " edges"]
    """Place in `asking`, of every edge."""
    answers: Int[Tensor, " edges"]
    candidates: Int[Tensor, " candidates"]
    log_weights: Float[Tensor, " candidates"]
    """Log of the number of entities that a candidate stands for."""
    times: tuple[Float[Tensor, " edges"], Float[Tensor, " candidates"]]
    """How often answers, and candidates, answer the relation in triples that carry messages."""
    known: Int[Tensor, "2 known"]
    """Places in `asking` and in `candidates` of what train knows to be true."""
    weight: float
    """Of the mean loss of its edges."""

    def to(self, device: torch.device | str) -> "Question":
        return Question(
            self.relation,
            self.asking.to(device),
            self.asked_by.to(device),
            self.answers.to(device),
            self.candidates.to(device),
            self.log_weights.to(device),
            (self.times[0].to(device), self.times[1].to(device)),
            self.known.to(device),
            self.weight,
        )


@dataclass(frozen=True)
class Asked:
    """One batch."""

    questions: tuple[Question, ...]
    triples: Int[np.ndarray, " edges"]
    """Numbers of the training triples that are asked for."""
    place: Place
    links: TypedLinks
    """What messages go over: of the whole graph, or of a sampled part."""
    removed: UInt[np.ndarray, " triples"] | None
    """1 for a triple that carries no message."""
    rows: Int[Tensor, " rows"] | None = None
    """Rows of the whole graph that the part's nodes are; None: the whole."""

    def __len__(self) -> int:
        return len(self.triples)

    def to(self, device: torch.device | str) -> "Asked":
        questions = tuple(question.to(device) for question in self.questions)
        rows = self.rows if self.rows is None else self.rows.to(device)
        return Asked(questions, self.triples, self.place, self.links, self.removed, rows)


class Links:
    """Train as a set of questions: what is asked when, what is hidden with it, what answers compete with.

    Memory: 4 bytes a training triple for pairs, 24 for its ends and relation as rows, and the edges of `TypedLinks`.
    """

    def __init__(self, graph: Graph, config: LinksConfig, links: TypedLinks) -> None:
        self.graph, self.config, self.links = graph, config, links
        triples = np.asarray(graph.triples("train"))
        self.nodes: TypedRows = links.nodes
        named = config.parallel if isinstance(config.parallel, str) else self.numbers(config.parallel)
        self.pairs = pair_numbers(triples, graph.num_entities, graph.num_relations, named)
        self.heads, self.tails = self.nodes.row_of[triples[:, 0]], self.nodes.row_of[triples[:, 2]]
        self.relations = np.ascontiguousarray(triples[:, 1]).astype(np.int32)
        asked = np.ones(graph.num_relations, bool)
        if config.relations:
            asked[:] = False
            asked[list(self.numbers(config.relations))] = True
        self.weights = np.ones(graph.num_relations)
        self.weights[list(self.numbers(tuple(config.weights)))] = list(config.weights.values())
        self.asked = asked & (self.weights > 0)
        if not self.asked[self.relations].any():
            raise ConfigError(f"{graph.path} has no training triples of the relations to ask for")
        self._types = {
            (kind.source, kind.relation, kind.target): number for number, kind in enumerate(links.edge_types)
        }
        self._index: AnswerIndex = graph.answers("train")
        self._times: dict[int, np.ndarray] = {}
        self.chances = Chances(config.negatives, self)

    def numbers(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Relations by name. Raises `ConfigError` for a name that the graph does not hold."""
        labels = list(self.graph.relations.labels)
        for name in names:
            if name not in labels:
                raise ConfigError(unknown("relation", name, labels, where=str(self.graph.path)))
        return tuple(labels.index(name) for name in names)

    def fold(self, place: Place) -> Int[np.ndarray, " edges"]:
        """Numbers of the triples that a step asks for, ascending: the pairs of its fold, at most so many a relation."""
        hashed = mixed(self.pairs, place.seed, place.epoch)
        chosen = np.flatnonzero((hashed % np.uint64(self.config.folds)) == np.uint64(place.step))
        chosen = chosen[self.asked[self.relations[chosen]]]
        relation = self.relations[chosen]
        order = np.lexsort((hashed[chosen] >> np.uint64(20), relation))
        first = np.searchsorted(relation[order], np.arange(self.graph.num_relations))
        within = np.arange(len(order)) - first[relation[order]]
        return np.sort(chosen[order[within < self.config.edges_per_type]])

    def hidden(self, asked: Int[np.ndarray, " edges"]) -> UInt[np.ndarray, " triples"]:
        """What no message may go over while these triples are asked for."""
        return hidden_with(asked, self.pairs)

    def visible_times(
        self, relation: int, hidden: UInt[np.ndarray, " triples"]
    ) -> Float[np.ndarray, " rows"]:
        """How often each row answers a directed relation in triples that are not hidden."""
        count = self.graph.num_relations
        ends = self.tails if relation < count else self.heads
        gone = ends[(hidden > 0) & (self.relations == relation % count)]
        times = self.times(relation)
        return (times - np.bincount(gone, minlength=len(times))).astype(np.float32)

    def times(self, relation: int) -> Int[np.ndarray, " rows"]:
        """How often each row answers a directed relation in train. Kept: 4 bytes a row and directed relation."""
        if relation not in self._times:
            self._times[relation] = self.links.answering(relation)
        return self._times[relation]

    def questions(
        self,
        asked: Int[np.ndarray, " edges"],
        hidden: UInt[np.ndarray, " triples"],
        place: Place,
        local: Int[np.ndarray, " rows"] | None = None,
    ) -> tuple[Question, ...]:
        """Both sides of some triples, by edge type.

        Args:
            hidden: 1 for a triple that carries no message.
            local: place of every row in the part that messages run over, -1 outside; None: the whole graph.
        """
        count = self.graph.num_relations
        head, relation, tail = self.heads[asked], self.relations[asked].astype(np.int64), self.tails[asked]
        kinds = self.nodes.types_of(head), self.nodes.types_of(tail)
        code = (relation * self.nodes.num_types + kinds[0]) * self.nodes.num_types + kinds[1]
        found = []
        for one in np.unique(code).tolist():
            rows = np.flatnonzero(code == one)
            number = int(relation[rows[0]])
            for side, (ask, answer) in enumerate(((head, tail), (tail, head))):
                kind = EdgeType(
                    int(kinds[side][rows[0]]), number + side * count, int(kinds[1 - side][rows[0]])
                )
                times = self.visible_times(kind.relation, hidden)
                found.append(self._question(kind, ask[rows], answer[rows], times, place, local))
        share = self._shares(found)
        return tuple(replace(question, weight=part) for question, part in zip(found, share, strict=True))

    def _shares(self, found: Sequence[Question]) -> list[float]:
        """The weight of each question's mean loss; they sum to one."""
        count = self.graph.num_relations
        parts = np.array([self.weights[question.relation % count] for question in found])
        if self.config.weighting == "edges":
            parts = parts * [len(question.answers) for question in found]
        return (parts / parts.sum()).tolist()

    def _question(
        self,
        kind: EdgeType,
        ask: Int[np.ndarray, " edges"],
        answer: Int[np.ndarray, " edges"],
        times: Float[np.ndarray, " rows"],
        place: Place,
        local: Int[np.ndarray, " rows"] | None,
    ) -> Question:
        asking, asked_by = np.unique(ask, return_inverse=True)
        candidates, log_weights = self.chances.draw(kind, place)
        if local is not None:
            inside = local[candidates] >= 0
            candidates, log_weights = candidates[inside], log_weights[inside]
        entities = self.nodes.order[candidates]
        order = np.argsort(entities)
        rows = self._index.find(
            self.nodes.order[asking].astype(np.int64), np.full(len(asking), kind.relation, np.int64)
        )
        starts, stops = self._index.offsets[rows], self._index.offsets[rows + 1]
        answers = np.asarray(self._index.answers)
        known = known_among(
            np.asarray(starts), np.asarray(stops), answers, entities[order].astype(answers.dtype)
        )
        known[1] = order[known[1]]
        counted = (torch.from_numpy(times[answer]), torch.from_numpy(times[candidates]))
        places = (asking, answer, candidates)
        asking, answer, candidates = places if local is None else (local[part] for part in places)
        return Question(
            kind.relation,
            _tensor(asking),
            _tensor(asked_by),
            _tensor(answer),
            _tensor(candidates),
            torch.from_numpy(log_weights),
            counted,
            _tensor(known),
            0.0,
        )


class Chances:
    """How candidates are drawn for each directed relation and type."""

    def __init__(self, config: NegativesConfig, links: Links) -> None:
        self.config, self._links = config, links
        nodes = links.nodes
        self._degrees = np.bincount(links.heads, minlength=len(nodes)) + np.bincount(
            links.tails, minlength=len(nodes)
        )

    def draw(
        self, kind: EdgeType, place: Place
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """Rows of the target's type, ascending, and the log of what each stands for. One that is drawn twice counts
        twice; the expected sum of weights is the size of the type."""
        starts, count = self._links.nodes.starts, self.config.count
        first, last = int(starts[kind.target]), int(starts[kind.target + 1])
        if last - first <= count:
            return np.arange(first, last), np.zeros(last - first, np.float32)
        rng = generator(place.seed, "negatives", place.epoch, place.step, kind.relation, kind.target)
        if self.config.name == "uniform":
            chosen = rng.choice(last - first, count, replace=False)
            return first + np.sort(chosen), np.full(count, np.log((last - first) / count), np.float32)
        chance = self._chance(kind, first, last)
        drawn, times = np.unique(rng.choice(last - first, count, p=chance), return_counts=True)
        return first + drawn, np.log(times / (count * chance[drawn])).astype(np.float32)

    def _chance(self, kind: EdgeType, first: int, last: int) -> Float[np.ndarray, " rows"]:
        if self.config.name == "degree":
            weights = np.maximum(self._degrees[first:last], 1) ** 0.75
        else:
            weights = self._links.times(kind.relation)[first:last] + 1.0
        return weights / weights.sum()


class WholeGraph(Sequence[Asked]):
    """The batches of one epoch of exact training: each asks for one fold, with messages over all the rest."""

    def __init__(self, links: Links, *, seed: int, epoch: int) -> None:
        self._links, self._seed, self._epoch = links, seed, epoch

    def __len__(self) -> int:
        return self._links.config.folds

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = Place(self._seed, self._epoch, number)
        asked = self._links.fold(place)
        hidden = self._links.hidden(asked)
        return Asked(self._links.questions(asked, hidden, place), asked, place, self._links.links, hidden)


def leaked(batch: Asked, links: Links) -> int:
    """Messages of a batch that go between the two ends of a pair it asks for, counted from the edges themselves.

    Looks at what messages run over, not at how it was chosen. With `parallel = all` it must be zero.
    """
    nodes = len(links.nodes)
    heads, tails = links.heads[batch.triples].astype(np.int64), links.tails[batch.triples].astype(np.int64)
    asked = np.unique(np.minimum(heads, tails) * nodes + np.maximum(heads, tails))
    found = 0
    rows = None if batch.rows is None else batch.rows.numpy()
    for number, (_, block) in enumerate(batch.links.nodes.blocks(batch.links.block_rows)):
        for segment in batch.links.segments(number):
            where = slice(int(segment.bounds[0]), int(segment.bounds[-1]))
            target = np.repeat(segment.rows.astype(np.int64) + block.start, np.diff(segment.bounds))
            source = batch.links.sources[where].astype(np.int64)
            if batch.removed is not None:
                kept: Bool[np.ndarray, " edges"] = batch.removed[batch.links.edges[where]] == 0
                source, target = source[kept], target[kept]
            if rows is not None:
                source, target = rows[source], rows[target]
            key = np.minimum(source, target) * nodes + np.maximum(source, target)
            found += int(np.isin(key, asked).sum())
    return found


def _tensor(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64))


def mixed(numbers: Int[np.ndarray, " n"], seed: int, epoch: int) -> UInt[np.ndarray, " n"]:
    """A hash of each number that changes with seed and epoch."""
    return words(generator(seed, "folds", epoch).integers(0, 2**63, dtype=np.uint64), numbers)
