"""Rules and what was counted of them.

Two kinds. A chain: head(X, Y) holds where a walk of directed relations leads from X to Y. A rule with a constant:
head(X, c) holds where a walk leads from X to another constant, or to anything. With R relations, step and head r < R
go from head to tail of relation r, r + R from tail to head; the head of a chain is below R.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Self, get_args

import numpy as np
from jaxtyping import Float, Int, Shaped

from corollary.kernels.paths import Links

ANY = -1
"""In place of a constant: there is none."""
UNSEEN = 5
"""Pairs that Laplace confidence adds to those counted; AnyBURL and PyClause add as many."""
Confidence = Literal["laplace", "standard", "pca", "heldout", "weight"]
"""laplace: support / (pairs + 5); standard: support / pairs; pca: support / PCA pairs; heldout: of the pairs that are
no training facts, the share that is held-out facts; weight: the model's share, where a model found the rule."""
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, without counts."""

    head: int
    body: tuple[int, ...]
    """Steps from X; to Y for a chain."""
    answer: int = ANY
    """The constant in the head, or ANY for a chain."""
    end: int = ANY
    """The constant in which the body of a rule with a constant ends."""

    @property
    def is_chain(self) -> bool:
        return self.answer == ANY


@dataclass(frozen=True, eq=False)
class Rules:
    """Many rules as columns. Counts are -1 and weights NaN where nobody has made them yet.

    Memory: 80 bytes a rule and 8 a step of the longest body.
    """

    num_relations: int
    heads: Int[np.ndarray, " rules"]
    bodies: Int[np.ndarray, "rules longest"]
    """ANY behind the last step."""
    answers: Int[np.ndarray, " rules"]
    ends: Int[np.ndarray, " rules"]
    pairs: Int[np.ndarray, " rules"]
    """Pairs (X, Y), or entities X, of which the body holds."""
    support: Int[np.ndarray, " rules"]
    """Those that are facts of the head."""
    pca_pairs: Int[np.ndarray, " rules"]
    """Those whose X (Y where the inverse is more functional) has a fact of the head at all."""
    head_size: Int[np.ndarray, " rules"]
    """Facts of the head; with a constant, those with the constant."""
    heldout_support: Int[np.ndarray, " rules"]
    heldout_size: Int[np.ndarray, " rules"]
    """Support and facts of the head among held-out facts."""
    sampled: Float[np.ndarray, " rules"]
    """Share of the starts that were counted, 1 where counts are exact; counts are those of the sample."""
    weights: Float[np.ndarray, " rules"]
    """A model's share of the evidence for facts of the head that goes through this body."""

    @classmethod
    def of(cls, rules: Sequence[Rule], num_relations: int) -> Self:
        """Rules that nobody has counted."""
        longest = max((len(rule.body) for rule in rules), default=1)
        bodies = np.full((len(rules), longest), ANY, np.int64)
        for row, rule in enumerate(rules):
            bodies[row, : len(rule.body)] = rule.body
        columns = {
            name: np.array([getattr(rule, part) for rule in rules], np.int64)
            for name, part in (("heads", "head"), ("answers", "answer"), ("ends", "end"))
        }
        return cls.uncounted(num_relations, bodies=bodies, **columns)

    @classmethod
    def uncounted(
        cls,
        num_relations: int,
        *,
        heads: Int[np.ndarray, " rules"],
        bodies: Int[np.ndarray, "rules longest"],
        answers: Int[np.ndarray, " rules"] | None = None,
        ends: Int[np.ndarray, " rules"] | None = None,
        weights: Float[np.ndarray, " rules"] | None = None,
    ) -> Self:
        """Rules from columns, without counts."""
        size = len(heads)
        nothing = np.full(size, ANY, np.int64)
        pairs, support, pca_pairs, head_size, heldout_support, heldout_size = (
            nothing.copy() for _ in range(6)
        )
        return cls(
            num_relations,
            np.asarray(heads, np.int64),
            np.ascontiguousarray(bodies, np.int64),
            nothing if answers is None else np.asarray(answers, np.int64),
            nothing if ends is None else np.asarray(ends, np.int64),
            pairs,
            support,
            pca_pairs,
            head_size,
            heldout_support,
            heldout_size,
            sampled=np.ones(size),
            weights=np.full(size, np.nan) if weights is None else np.asarray(weights, np.float64),
        )

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, row: int) -> Rule:
        body = tuple(int(step) for step in self.bodies[row] if step != ANY)
        return Rule(int(self.heads[row]), body, int(self.answers[row]), int(self.ends[row]))

    def __iter__(self) -> Iterator[Rule]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> Int[np.ndarray, " rules"]:
        return (self.bodies != ANY).sum(1)

    @property
    def are_chains(self) -> Shaped[np.ndarray, " rules"]:
        return self.answers == ANY

    @property
    def relations(self) -> Int[np.ndarray, " rules"]:
        """The relation of each head, whatever its direction."""
        return self.heads % self.num_relations

    def take(self, rows: Shaped[np.ndarray, " rows"]) -> Self:
        """Some rules, by number or by a mask."""
        return replace(self, **{name: values[rows] for name, values in self._columns()})

    def once(self) -> Self:
        """Each rule once, the first of equals; the order stays."""
        return self.take(np.sort(np.unique(self.keys(), axis=0, return_index=True)[1]))

    def find(self, rule: Rule) -> int:
        """Row of a rule, -1 where it is not among these."""
        if len(rule.body) > self.bodies.shape[1]:
            return -1
        body = np.full(self.bodies.shape[1], ANY)
        body[: len(rule.body)] = rule.body
        same = (self.heads == rule.head) & (self.answers == rule.answer) & (self.ends == rule.end)
        rows = np.flatnonzero(same & (self.bodies == body).all(axis=1))
        return int(rows[0]) if len(rows) else -1

    def keys(self) -> Int[np.ndarray, "rules parts"]:
        """What makes a rule that rule."""
        return np.column_stack([self.heads, self.answers, self.ends, self.bodies])

    def confidence(self, kind: Confidence = "laplace") -> Float[np.ndarray, " rules"]:
        """One confidence of every rule; NaN where it was not counted or nothing was to be counted."""
        if kind == "weight":
            return self.weights
        over = {
            "laplace": self.pairs + UNSEEN,
            "standard": self.pairs,
            "pca": self.pca_pairs,
            "heldout": self.pairs - self.support,
        }
        part = self.heldout_support if kind == "heldout" else self.support
        counted = (part >= 0) & (over[kind] > 0)
        return np.where(counted, part / np.maximum(over[kind], 1), np.nan)

    @property
    def head_coverage(self) -> Float[np.ndarray, " rules"]:
        """Share of the head's facts that the body gives; where counts are of a sample, of the sampled ones."""
        counted = (self.support >= 0) & (self.head_size > 0)
        return np.where(counted, self.support / np.maximum(self.head_size * self.sampled, 1e-12), np.nan)

    def by(self, kind: Confidence = "laplace") -> Self:
        """Sorted by falling confidence, then by rising head, length and body; unknown confidences last."""
        keys = [
            self.ends,
            self.answers,
            *self.bodies.T[::-1],
            self.lengths,
            self.heads,
            -self.support,
            -self.confidence(kind),  # NaN, which is unknown, sorts last
        ]
        return self.take(np.lexsort(keys))

    def _columns(self) -> list[tuple[str, np.ndarray]]:
        return [
            (field.name, getattr(self, field.name)) for field in fields(self) if field.name != "num_relations"
        ]


def joined(parts: Sequence[Rules], num_relations: int) -> Rules:
    """All rules of several lists, in their order."""
    nothing = Rules.of([], num_relations)
    longest = max((part.bodies.shape[1] for part in parts), default=1)
    wide = [replace(part, bodies=widened(part.bodies, longest)) for part in parts]
    wide = wide or [nothing]
    columns = {name: np.concatenate([getattr(part, name) for part in wide]) for name, _ in nothing._columns()}
    return Rules(num_relations, **columns)


def widened(bodies: Int[np.ndarray, "rules longest"], longest: int) -> Int[np.ndarray, "rules wider"]:
    """The same bodies with room for longer ones."""
    return np.pad(bodies, ((0, 0), (0, longest - bodies.shape[1])), constant_values=ANY)


def inverse(step: int, num_relations: int) -> int:
    """The same edge walked the other way."""
    return step + num_relations if step < num_relations else step - num_relations


def turned(bodies: Int[np.ndarray, "rules longest"], num_relations: int) -> Int[np.ndarray, "rules longest"]:
    """Bodies from Y to X: inverse steps in reverse order."""
    lengths = (bodies != ANY).sum(1)
    places = lengths[:, None] - 1 - np.arange(bodies.shape[1])
    steps = np.take_along_axis(bodies, np.maximum(places, 0), axis=1)
    back = np.where(steps < num_relations, steps + num_relations, steps - num_relations)
    return np.where(places >= 0, back, ANY)


def renumbered(rules: Rules, places: Int[np.ndarray, " relations"], num_relations: int) -> Rules:
    """The same chains on a graph where each relation has another number, `places` says which."""
    table = np.append(np.concatenate([places, places + num_relations]), ANY)  # ANY, -1, is the last
    return replace(rules, num_relations=num_relations, heads=table[rules.heads], bodies=table[rules.bodies])


def back_and_forth(
    bodies: Int[np.ndarray, "rules longest"], num_relations: int
) -> Shaped[np.ndarray, " rules"]:
    """Which bodies go over a relation and at once back over it; plain walks can undo such a pair of steps."""
    first, second = bodies[:, :-1], bodies[:, 1:]
    return ((second != ANY) & ((first - second) % (2 * num_relations) == num_relations)).any(1)


def links_of(triples: Int[np.ndarray, "n 3"], num_entities: int, num_relations: int) -> Links:
    """The edges of some triples both ways; duplicates count once.

    Memory: about 12 bytes an edge and way, 20 a segment, 8 an entity; 100 bytes a triple while it is built.
    """
    head, relation, tail = (triples[:, column].astype(np.int64) for column in range(3))
    source = np.concatenate([head, tail])
    step = np.concatenate([relation, relation + num_relations])
    target = np.concatenate([tail, head])
    directed = 2 * num_relations
    if num_entities**2 * directed < 2**63:
        code = np.unique((source * directed + step) * num_entities + target)
        target, place = code % num_entities, code // num_entities
    else:
        order = np.lexsort((target, step, source))
        place, target = (source * directed + step)[order], target[order]
        fresh = np.ones(len(place), bool)
        fresh[1:] = (place[1:] != place[:-1]) | (target[1:] != target[:-1])
        place, target = place[fresh], target[fresh]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    source, steps = place[starts] // directed, place[starts] % directed
    order = np.argsort(steps, kind="stable")
    return Links(
        segments=np.searchsorted(source, np.arange(num_entities + 1)),
        steps=steps.astype(np.int32),
        starts=np.append(starts, len(target)),
        targets=target.astype(np.int32 if num_entities < 2**31 else np.int64),
        firsts=np.searchsorted(steps[order], np.arange(directed + 1)),
        bearers=source[order].astype(np.int32 if num_entities < 2**31 else np.int64),
    )


Progress = Callable[[int, int], None]
"""Called with what is done and all there is to do."""
