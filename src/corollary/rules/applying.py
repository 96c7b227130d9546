"""Counted rules as answers to queries: which entities they give, with what score, and by which walks.

Scores: the best rule's confidence (max); by the best, then the second best, and so on (maxplus, Meilicke et al. 2019);
1 - product of (1 - confidence) over the best five (noisy-or); the same over clusters of rules that say much the same,
each counted once by its best rule (non-redundant noisy-or, Ott et al. 2021).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt

from corollary.config import Config
from corollary.kernels import rule_firing as kernels
from corollary.kernels.paths import Links, Trie, segment
from corollary.rules.counting import trie_of
from corollary.rules.redundancy import clusters
from corollary.rules.rule import ANY, Confidence, Rule, Rules, turned

Aggregation = Literal["max", "maxplus", "noisy-or", "non-redundant"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


class ApplyingOptions(Config):
    """How rules become scores, as it is configured."""

    aggregation: Aggregation = "maxplus"
    """max, maxplus, noisy-or or non-redundant."""
    best: PositiveInt = 5
    """Rules of an answer (clusters with non-redundant) that a noisy-or counts."""
    confidence: Confidence = "laplace"
    """Which confidence of a rule: laplace, standard, pca, heldout or weight."""
    similar: float = Field(0.5, gt=0, le=1)
    """Jaccard similarity of pairs from which rules fall into one cluster (non-redundant)."""


class Applying(ApplyingOptions):
    """How rules become scores, and how they were counted."""

    distinct: bool = True
    """The variables of a rule stand for different entities; as the rules were counted."""


@dataclass(frozen=True)
class Grounding:
    """One way in which a body holds: the facts on the way, as walked."""

    rule: int
    entities: tuple[int, ...]
    """X, then every entity on the way, then the end of the body."""


class Application:
    """Rules made ready to be applied to a graph. Rules without a confidence, or with none above 0, take no part.

    Memory: about 120 bytes a rule; while queries are answered 24 bytes a pair of answer and rule.
    """

    def __init__(self, rules: Rules, links: Links, how: Applying = Applying()) -> None:
        self.links, self.how = links, how
        rules = rules.by(how.confidence)
        self.rules = rules.take(rules.confidence(how.confidence) > 0)  # which NaN, never counted, is not
        groups = (
            clusters(self.rules, links, least=how.similar)
            if how.aggregation == "non-redundant"
            else np.arange(len(self.rules))
        )
        self._table = table_of(self.rules, how.confidence, groups, len(links.segments) - 1)

    def scores(
        self, entities: Int[np.ndarray, " queries"], relations: Int[np.ndarray, " queries"]
    ) -> tuple[
        Int[np.ndarray, " queries_bounds"], Int[np.ndarray, " answers"], Float[np.ndarray, " answers"]
    ]:
        """By query (entity, directed relation): answers, ascending, and scores. An entity that no rule gives is absent."""
        return kernels.score_all(
            self._table, self.links, entities, relations, self.rules.num_relations, self.how.distinct,
            AGGREGATIONS.index(self.how.aggregation), self.how.best,
        )  # fmt: skip

    def fired(
        self, entities: Int[np.ndarray, " queries"], relations: Int[np.ndarray, " queries"]
    ) -> tuple[Int[np.ndarray, " queries_bounds"], Int[np.ndarray, " fired"], Int[np.ndarray, " fired"]]:
        """By query: answers and, for each, the rows in `rules` that give it, by falling confidence."""
        return kernels.fire_all(
            self._table, self.links, entities, relations, self.rules.num_relations, self.how.distinct
        )

    def groundings(self, row: int, subject: int, answer: int, *, most: int = 10) -> list[Grounding]:
        """The first walks by which a rule of `rules` gives head(subject, answer), in the order of entity ids."""
        rule = self.rules[row]
        barred = rule.answer if self.how.distinct else ANY
        return [
            Grounding(row, walk)
            for walk in walks(
                self.links, rule, subject, answer, distinct=self.how.distinct, barred=barred, most=most
            )
        ]


def walks(
    links: Links, rule: Rule, subject: int, answer: int, *, distinct: bool, barred: int = ANY, most: int = 10
) -> list[tuple[int, ...]]:
    """Walks from the subject along the body, to the answer (a chain), to the rule's constant, or to anything."""
    goal = answer if rule.is_chain else rule.end
    found: list[tuple[int, ...]] = []
    open_: list[tuple[int, ...]] = [(subject,)]
    while open_ and len(found) < most:
        walk = open_.pop()
        if len(walk) > len(rule.body):
            found.append(walk)
            continue
        at = segment(links, walk[-1], rule.body[len(walk) - 1])
        if at < 0:
            continue
        targets = links.targets[links.starts[at] : links.starts[at + 1]].tolist()
        if len(walk) == len(rule.body) and goal != ANY:
            targets = [goal] if goal in targets else []
        for target in reversed(targets):
            if not (distinct and (target in walk or target == barred != goal)):
                open_.append((*walk, target))
    return found


def table_of(
    rules: Rules, confidence: Confidence, groups: Int[np.ndarray, " rules"], num_entities: int
) -> kernels.Table:
    """Rules, sorted by falling confidence, arranged by the queries that they answer."""
    directed = 2 * rules.num_relations
    values = np.ascontiguousarray(rules.confidence(confidence))
    numbers = np.arange(len(rules))
    chain, one_step = rules.are_chains, rules.lengths == 1
    bodies = np.concatenate([rules.bodies, turned(rules.bodies, rules.num_relations)[chain]])
    heads = np.concatenate([rules.heads, (rules.heads[chain] + rules.num_relations) % directed])
    owners = np.concatenate([numbers, numbers[chain]])
    usable = np.concatenate([chain | one_step, np.ones(int(chain.sum()), bool)])
    bodies, heads, owners = bodies[usable], heads[usable], owners[usable]
    trie, ends = trie_of(np.column_stack([heads, bodies])) if len(heads) else (None, np.zeros(0, np.int64))
    trie, ends, nodes = _without_first(trie, ends, directed, bodies.shape[1])
    kinds = np.where(chain[owners], 0, np.where(rules.ends[owners] == ANY, 2, 1))
    num_nodes = len(trie.steps)
    chain_bounds, chain_rules = _grouped(ends[kinds == 0], owners[kinds == 0], num_nodes)
    constant = owners[kinds == 1]
    order = np.lexsort((constant, rules.ends[constant], ends[kinds == 1]))
    end_bounds, end_rules = _grouped(ends[kinds == 1][order], constant[order], num_nodes)
    free_bounds, free_rules = _grouped(ends[kinds == 2], owners[kinds == 2], num_nodes)
    long = np.flatnonzero(~chain & ~one_step)
    long_bounds, long_rules = _grouped(rules.heads[long], long, directed)
    keyed = np.flatnonzero(~chain)
    keys, inverse = np.unique(rules.heads[keyed] * num_entities + rules.answers[keyed], return_inverse=True)
    subject_bounds, subject_rules = _grouped(inverse, keyed, len(keys))
    return kernels.Table(
        trie, nodes, chain_bounds, chain_rules, end_bounds, rules.ends[end_rules], end_rules, free_bounds,
        free_rules, long_bounds, long_rules, keys, subject_bounds, subject_rules, rules.answers, rules.ends,
        rules.bodies, values, np.unique(-values, return_inverse=True)[1].astype(np.int64), groups,
    )  # fmt: skip


def _without_first(
    trie: Trie | None, ends: Int[np.ndarray, " bodies"], directed: int, longest: int
) -> tuple[Trie, Int[np.ndarray, " bodies"], Int[np.ndarray, " directed_bounds"]]:
    """The trie without its first level, which holds the heads, and where the nodes of each head begin."""
    if trie is None:
        nothing = np.zeros(0, np.int64)
        return (
            Trie(nothing, nothing, nothing, np.zeros((0, longest), np.int64)),
            ends,
            np.zeros(directed + 1, np.int64),
        )
    kept = trie.depths > 1
    number = np.append(np.cumsum(kept) - kept, kept.sum())
    head_of = trie.chains[kept, 0]
    smaller = Trie(
        trie.steps[kept],
        trie.depths[kept] - 1,
        number[trie.skips[kept]],
        np.ascontiguousarray(trie.chains[kept, 1:]),
    )
    return smaller, number[ends], np.searchsorted(head_of, np.arange(directed + 1))


def _grouped(
    groups: Int[np.ndarray, " n"], values: Int[np.ndarray, " n"], count: int
) -> tuple[Int[np.ndarray, " count_bounds"], Int[np.ndarray, " n"]]:
    """Values by group, in their order, and where each group begins."""
    order = np.argsort(groups, kind="stable")
    return np.searchsorted(groups[order], np.arange(count + 1)), values[order]
