"""What DRUM walks on and asks for: facts as links, triples as queries, and the operators that each query may use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int, UInt

from corollary.errors import ConfigError, unknown
from corollary.graph.folder import Graph
from corollary.kernels.body_candidates import chains_between
from corollary.kernels.drum.reaching import reached
from corollary.kernels.paths import Links
from corollary.learners.drum.config import DrumConfig
from corollary.randomness import generator
from corollary.rules.mining import restricted
from corollary.rules.rule import links_of

_SHORTLIST_FACTS = 200  # facts of a relation whose ways are looked at for its shortlist
_SHORTLIST_EDGES = 20_000
_FACTS_FILE = re.compile(r"(train_)?facts\.\w+(\.\w+)?")


@dataclass
class DrumData:
    """Facts and queries of one training."""

    num_relations: int
    links: Links
    """What is walked on."""
    triples: Int[np.ndarray, "n 3"]
    """What is asked for, both sides of each."""
    known: Int[np.ndarray, "m 3"]
    """All facts that are given of the relations, asked for or not."""
    names: Sequence[str]
    """Of the relations."""
    allowed: Bool[np.ndarray, "directed operators"] | None = None
    """By query: operators it may use; None: all."""
    share: float | None = None
    """Where queries are drawn from the triples: how many of them."""
    resplit: bool = False
    reached: Bool[np.ndarray, "n 2"] | None = None
    """Which sides have a walk to the answer; None: all are asked for."""
    _counts: Int[np.ndarray, " segments"] | None = field(default=None, repr=False)

    def counts(self, removed: UInt[np.ndarray, " edges_or_none"]) -> Int[np.ndarray, " segments"]:
        """Edges of each segment that are left."""
        if self._counts is None:
            self._counts = np.diff(self.links.starts)
        if not len(removed):
            return self._counts
        gone = np.concatenate([[0], np.cumsum(removed, dtype=np.int64)])
        return self._counts - np.diff(gone[self.links.starts])

    def asked(
        self, seed: int, epoch: int, only: Int[np.ndarray, " targets"] | None
    ) -> Int[np.ndarray, "m 3"]:
        """Triples that are asked for in an epoch, of some relations or of all."""
        triples = self.triples if self.reached is None else self.triples[self.reached.any(1)]
        if self.share is not None:
            draw = generator(seed, "queries", epoch if self.resplit else 0).permutation(len(triples))
            triples = triples[np.sort(draw[: max(1, round(len(triples) * self.share))])]
        return triples if only is None else triples[np.isin(triples[:, 1], only)]

    def examples(self, triples: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, "examples 3"]:
        """Directed relation, start, answer: the tails of all triples, then the heads, those that can be reached."""
        head, relation, tail = triples.T.astype(np.int64)
        tails = np.stack([relation, head, tail], 1)
        heads = np.stack([relation + self.num_relations, tail, head], 1)
        examples = np.concatenate([tails, heads])
        return examples if self.reached is None else examples[self._is_reached(triples).T.ravel()]

    def _is_reached(self, triples: Int[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n 2"]:
        assert self.reached is not None
        keys, wanted = (rows.astype(np.int64) @ self._factors() for rows in (self.triples, triples))
        order = np.argsort(keys)
        return self.reached[order[np.searchsorted(keys[order], wanted)]]

    def _factors(self) -> Int[np.ndarray, " three"]:
        entities = len(self.links.segments) - 1
        return np.array([1, entities * entities, entities], np.int64)

    def marked(self, triples: Int[np.ndarray, "n 3"]) -> UInt[np.ndarray, " edges"]:
        """1 for every edge of the triples, both ways."""
        links, directed = self.links, 2 * self.num_relations
        gone = links_of(triples, len(links.segments) - 1, self.num_relations)
        mine, theirs = (_edge_keys(graph, directed) for graph in (links, gone))
        return np.isin(mine, theirs, assume_unique=True).astype(np.uint8)


def _edge_keys(links: Links, directed: int) -> Int[np.ndarray, " edges"]:
    entities = len(links.segments) - 1
    owners = np.repeat(np.arange(entities), np.diff(links.segments))
    segments = owners * directed + links.steps
    return np.repeat(segments, np.diff(links.starts)) * entities + links.targets


def drum_data(
    graph: Graph, config: DrumConfig, *, seed: int, targets: Int[np.ndarray, " targets"] | None = None
) -> DrumData:
    """Facts, queries and operators as the options say.

    Args:
        targets: relations that are asked for; all when not given.

    Raises `ConfigError` where they do not go with the graph.
    """
    train = np.asarray(graph.triples("train"))
    known = num_facts(graph) if config.queries in ("auto", "given") or config.facts_only else 0
    queries = config.queries if config.queries != "auto" else ("given" if known else "all")
    if queries == "given" and not known:
        raise ConfigError(
            f"queries = given needs facts and queries apart, and {graph.path} has no facts: import a folder with "
            "facts.txt beside train.txt, or say queries = all or split"
        )
    if config.facts_only and not known:
        raise ConfigError(f"facts_only needs facts apart, and {graph.path} has none: name body_relations")
    share = config.query_share if queries == "split" else None
    if not config.extra_facts and share is not None:
        raise ConfigError("extra_facts = false needs facts given apart: it does not go with queries = split")
    if not config.extra_facts and queries == "all":
        raise ConfigError("extra_facts = false leaves nothing to walk on where all of train is asked for")
    asked = train[known:] if queries == "given" else train
    asked = np.unique(asked if targets is None else asked[np.isin(asked[:, 1], targets)], axis=0)
    links = links_of(train if config.extra_facts else train[:known], graph.num_entities, graph.num_relations)
    operators = _operators(graph, config, train[:known])
    if operators is not None:
        links = restricted(links, operators, graph.num_relations)
    names = list(graph.relations.labels)
    data = DrumData(graph.num_relations, links, asked, train, names, share=share, resplit=config.resplit)
    data.allowed = _allowed(data, config, operators, seed)
    return data


def num_facts(graph: Graph) -> int:
    """Rows of train that came from a file of facts; 0 where nothing says so.

    Raises `ConfigError` where train lost rows when it was imported, so that facts cannot be told from queries.
    """
    files = [source for source in graph.info.sources if source.get("part") == "train"]
    rows = [int(source.get("rows") or 0) for source in files]
    are_facts = [_FACTS_FILE.fullmatch(str(source.get("name", "")).split("/")[-1]) for source in files]
    facts = sum(number for number, is_facts in zip(rows, are_facts, strict=True) if is_facts)
    if facts and sum(rows) != graph.info.num_triples["train"]:
        raise ConfigError(
            f"{graph.path} holds {graph.info.num_triples['train']:,} training triples of {sum(rows):,} that were read, "
            "so facts cannot be told from queries any more: import files that repeat no triple, without filters, "
            "or say queries = all or split"
        )
    return facts if facts < sum(rows) else 0


def _operators(graph: Graph, config: DrumConfig, facts: Int[np.ndarray, "n 3"]) -> list[int] | None:
    """Relations that bodies may use; None: all."""
    labels = graph.relations.labels
    if config.body_relations:
        for name in config.body_relations:
            if not labels.rows_of(name):
                raise ConfigError(unknown("relation", name, list(labels), where="body_relations"))
        return sorted({labels.rows_of(name)[0] for name in config.body_relations})
    return np.unique(facts[:, 1]).tolist() if config.facts_only else None


def _allowed(
    data: DrumData, config: DrumConfig, operators: list[int] | None, seed: int
) -> Bool[np.ndarray, "directed operators"] | None:
    """By query: the steps along the allowed relations or along its shortlist, and staying."""
    if operators is None and config.shortlist is None:
        return None
    directed = 2 * data.num_relations
    result = np.zeros((directed, directed + 1), bool)
    result[:, -1] = True
    if operators is not None:
        result[:, operators] = True
        result[:, np.array(operators, np.int64) + data.num_relations] = True
    else:
        result[:] = True
    if config.shortlist is not None:
        for relation in range(data.num_relations):
            counts = _usefulness(data, relation, seed)
            for query, steps in (
                (relation, counts),
                (relation + data.num_relations, np.roll(counts, data.num_relations)),
            ):
                worst_first = np.lexsort((-np.arange(directed), steps))
                dropped = worst_first[: max(0, directed - config.shortlist)]
                result[query, dropped] = False
    return result


def _usefulness(data: DrumData, relation: int, seed: int) -> np.ndarray:
    """For each step: facts of the relation with a way of up to three steps over it; then how common it is beside them."""
    directed, base = 2 * data.num_relations, 2 * data.num_relations + 1
    triples = data.triples[data.triples[:, 1] == relation]
    rows = generator(seed, "shortlist", relation).permutation(len(triples))[:_SHORTLIST_FACTS]
    starts, answers = (triples[np.sort(rows), column].astype(np.int64) for column in (0, 2))
    codes, counts, _ = chains_between(
        data.links, starts, answers, relation, data.num_relations, 3, False, _SHORTLIST_EDGES
    )
    result = np.zeros(directed)
    for place in range(3):
        steps = codes // base**place % base - 1
        np.add.at(result, steps[steps >= 0], counts[steps >= 0])
    beside = np.zeros(directed)
    for entity in np.concatenate([starts, answers]).tolist():
        beside[data.links.steps[data.links.segments[entity] : data.links.segments[entity + 1]]] += 1
    return result + beside / (2 * beside.sum() + 1)


def reached_sides(data: DrumData, steps: int, triples: Int[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n 2"]:
    """Which sides of some triples, tails first, have a walk to their answer, without their own edge and within the
    operators of their queries."""
    head, relation, tail = triples.T.astype(np.int64)
    allowed = np.zeros((0, 0), bool) if data.allowed is None else data.allowed
    sides = [(relation, head, tail), (relation + data.num_relations, tail, head)]
    return np.stack(
        [reached(data.links, allowed, *side, steps, data.num_relations) for side in sides], axis=1
    )
