"""What a relation is like, in numbers that any relation has: its facts, what its entities are part of, its name.

So a relation that no training saw can be described by the few facts that are known of it, or by its name alone. The
numbers: `OF_FACTS` of its own facts; which relations its subjects and its objects have beside it, as hashed profiles; the
same figures of those relations, averaged over one step and over two; hashed pieces of its name. After ULTRA (Galkin et
al. 2024) and InGram (Lee et al. 2023), which learn what is averaged here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from corollary.kernels.paths import Links
from corollary.randomness import generator

OF_FACTS = 8
"""How many, how many subjects and objects, how many of each an average fact shares, and how symmetric and reflexive."""
HASHED = 64
"""Numbers of a profile, and of a name."""
KNOWN = 2 * HASHED + 7 * OF_FACTS
"""Numbers that come from facts; they are 0, the mean, for a relation without any."""
WIDTH = KNOWN + HASHED + 2
"""All of them; the last two: whether there are facts, and the direction."""


class Profile(NamedTuple):
    """Directed relations that some entities have, ascending, with weights that sum to 1."""

    steps: Int[np.ndarray, " steps"]
    weights: Float[np.ndarray, " steps"]


@dataclass(frozen=True, eq=False)
class Describer:
    """Describes relations by their place in a graph.

    Memory: about 700 bytes a directed relation; 120 bytes a fact, and 16 a pair of directed relations, while all are
    described.
    """

    links: Links
    """What profiles are read from."""
    names: Sequence[str]
    rarity: Float[np.ndarray, " directed"]
    """How few entities have a directed relation, as log of the inverse share."""
    hashes: Float[np.ndarray, "directed hashed"]
    """What profiles are multiplied by, a function of the relation's name."""
    figures: Float[np.ndarray, "directed of_facts"]
    one_step: Float[np.ndarray, "directed averages"]

    @classmethod
    def of(
        cls, links: Links, triples: Int[np.ndarray, "n 3"], names: Sequence[str]
    ) -> tuple[Self, np.ndarray]:
        """A describer, and the description of every relation by all of its facts: `[relations, 2, WIDTH]`, not scaled.

        Args:
            triples: the facts of all relations; profiles hold only what `links` does.
        """
        count, entities = len(names), len(links.segments) - 1
        bearers = np.diff(links.firsts)
        hashes = np.stack([_directions(name) for name in names], 1).reshape(2 * count, HASHED)
        nothing = np.zeros((2 * count, OF_FACTS))
        plain = cls(links, names, np.log((entities + 1) / (bearers + 1)), hashes, nothing, nothing)
        order = np.argsort(triples[:, 1], kind="stable")
        bounds = np.searchsorted(triples[order, 1], np.arange(count + 1))
        facts = [triples[order[bounds[r] : bounds[r + 1]]][:, [0, 2]].astype(np.int64) for r in range(count)]
        figures = np.stack([_figures(pairs) for pairs in facts], 1).reshape(2 * count, OF_FACTS)
        profiles = [plain.profiles(pairs, relation) for relation, pairs in enumerate(facts)]
        one_step = np.stack([_both_ways(sides, figures) for sides in profiles], 1).reshape(2 * count, -1)
        whole = cls(links, names, plain.rarity, hashes, figures, one_step)
        every = [whole._described(facts[r], profiles[r], names[r]) for r in range(count)]
        return whole, np.stack(every) if every else np.zeros((0, 2, WIDTH))

    def described(
        self, pairs: Int[np.ndarray, "facts 2"], name: str, own: int | None
    ) -> Float[np.ndarray, "two width"]:
        """A relation by some of its facts, asked for its tails and for its heads.

        Args:
            own: its number, where it is one of the graph's: its profile leaves itself out.
        """
        return self._described(pairs, self.profiles(pairs, own), name)

    def _described(
        self, pairs: Int[np.ndarray, "facts 2"], sides: tuple[Profile, Profile], name: str
    ) -> Float[np.ndarray, "two width"]:
        figures = _figures(pairs)
        averages = [_both_ways(sides, table) for table in (self.hashes, self.figures, self.one_step)]
        written = np.tile(hashed_name(name), (2, 1))
        there = np.full((2, 1), float(len(pairs) > 0))
        return np.concatenate([*averages, figures, written, there, [[1.0], [-1.0]]], 1)

    def profiles(self, pairs: Int[np.ndarray, "facts 2"], own: int | None) -> tuple[Profile, Profile]:
        """What the subjects have beside the relation, and what the objects have."""
        return self._profile(np.unique(pairs[:, 0]), own), self._profile(np.unique(pairs[:, 1]), own)

    def _profile(self, entities: Int[np.ndarray, " some"], own: int | None) -> Profile:
        segments, directed = self.links.segments, len(self.rarity)
        firsts, sizes = segments[entities], segments[entities + 1] - segments[entities]
        places = np.repeat(firsts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        shares = np.bincount(self.links.steps[places], minlength=directed) * self.rarity
        if own is not None:
            shares[[own, own + directed // 2]] = 0.0
        steps = np.flatnonzero(shares)
        return Profile(steps, shares[steps] / max(shares.sum(), 1e-12))


def hashed_name(name: str) -> Float[np.ndarray, " hashed"]:
    """Pieces of three to five letters of a name, each at a place and with a sign of its own; length 1."""
    found, text = np.zeros(HASHED), f"^{name.lower()}$"
    for size in (3, 4, 5):
        for first in range(len(text) - size + 1):
            piece = hashlib.blake2b(text[first : first + size].encode(), digest_size=8).digest()
            number = int.from_bytes(piece, "little")
            found[number % HASHED] += 1.0 if number >> 63 else -1.0
    return found / max(float(np.linalg.norm(found)), 1e-12)


def _directions(name: str) -> Float[np.ndarray, "two hashed"]:
    """What the two directions of a relation add to a profile."""
    return generator(0, "relation profile", name).standard_normal((2, HASHED))


def _figures(pairs: Int[np.ndarray, "facts 2"]) -> Float[np.ndarray, "two of_facts"]:
    """Of a relation's own facts, forwards and backwards; 0 where there are none."""
    if not len(pairs):
        return np.zeros((2, OF_FACTS))
    span = int(pairs.max()) + 1
    keys = np.unique(pairs @ np.array([span, 1]))
    first, second = keys // span, keys % span
    subjects, objects = np.unique(first), np.unique(second)
    symmetric = np.isin(second * span + first, keys).mean()
    reflexive = (first == second).mean()
    shared = len(np.intersect1d(subjects, objects)) / len(np.union1d(subjects, objects))
    count, sides = len(keys), (len(subjects), len(objects))
    return np.array(
        [
            [np.log(count), np.log(a), np.log(b), a / count, b / count, symmetric, reflexive, shared]
            for a, b in (sides, sides[::-1])
        ]
    )


def _both_ways(sides: tuple[Profile, Profile], table: Float[np.ndarray, "directed numbers"]) -> np.ndarray:
    """The means of a table over the profiles of subjects and objects; backwards their order is the other one."""
    means = [profile.weights @ table[profile.steps] for profile in sides]
    return np.stack([np.concatenate(means), np.concatenate(means[::-1])])
