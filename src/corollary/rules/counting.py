"""Exact counts of rules on a graph, in blocks of starts under a byte limit; no pair of a body is ever stored.

support, standard, PCA and Laplace confidence, head coverage (AMIE: Galárraga et al. 2013) and the same on held-out
facts. Where a limit on the work is given and would be passed, starts are drawn and the rules say so (`sampled`).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import PositiveInt

from corollary.budget import MIB, show_bytes
from corollary.config import Config
from corollary.errors import PlanDoesNotFit
from corollary.kernels import rule_counts as kernels
from corollary.kernels.paths import Links, Trie
from corollary.randomness import generator
from corollary.rules.rule import ANY, Progress, Rules

_BLOCK = 2048  # starts between two calls of `progress`
_PILOT = 64  # starts walked to foresee the work


class Counting(Config):
    """How rules are counted."""

    distinct: bool = True
    """The variables of a rule stand for different entities (AnyBURL's and PyClause's object identity; AMIE without
    it). Without: walks may turn back, so that `p, p inverse` holds of any pair."""
    most_bytes: PositiveInt = 512 * MIB
    """Of working memory."""
    most_edges: PositiveInt | None = None
    """Edges looked at before starts are drawn in place of walking from all; not set: never."""
    parts: PositiveInt = 2
    """Walkers at once. Changes no count."""
    seed: int = 0
    """Of the starts that are drawn."""


def count(
    rules: Rules,
    links: Links,
    facts: Links | None = None,
    *,
    heldout: Links | None = None,
    how: Counting = Counting(),
    progress: Progress | None = None,
) -> Rules:
    """The rules with their counts, in the same order.

    Args:
        links: what bodies are walked in.
        facts: what heads are compared with; `links` when not given.
        heldout: facts for the held-out figures.

    Memory: `links`, 24 bytes a rule and walker, 32 bytes an entity and level of the longest body and walker; raises
    `PlanDoesNotFit` where `how.most_bytes` is less than one walker needs.
    """
    facts = links if facts is None else facts
    walkers = _walkers(rules, links, how)
    by_answer = _by_answer(facts, rules)
    chains = np.flatnonzero(rules.are_chains)
    constants = np.flatnonzero(~rules.are_chains)
    counts = np.zeros((len(rules), 3), np.int64)
    sampled = np.ones(len(rules))
    if len(chains):
        part = rules.take(chains)
        starts, share = _starts(part, links, facts, by_answer[chains], how)
        counts[chains] = _chains(part, links, facts, by_answer[chains], starts, how, walkers, progress)
        sampled[chains] = share
    if len(constants):
        counts[constants] = _constants(
            rules.take(constants), links, facts, by_answer[constants], how, walkers
        )
    result = replace(
        rules,
        pairs=counts[:, kernels.PAIRS],
        support=counts[:, kernels.SUPPORT],
        pca_pairs=counts[:, kernels.PCA],
        head_size=head_sizes(facts, rules),
        sampled=sampled,
    )
    if heldout is None:
        return result
    found = np.zeros((len(rules), 3), np.int64)
    if len(chains):
        part = rules.take(chains)
        found[chains] = _chains(part, links, heldout, by_answer[chains], starts, how, walkers, None)
    if len(constants):
        found[constants] = _constants(
            rules.take(constants), links, heldout, by_answer[constants], how, walkers
        )
    return replace(result, heldout_support=found[:, kernels.SUPPORT], heldout_size=head_sizes(heldout, rules))


def interval(
    support: Int[np.ndarray, " rules"], pairs: Int[np.ndarray, " rules"], level: float = 1.96
) -> tuple[Float[np.ndarray, " rules"], Float[np.ndarray, " rules"]]:
    """Wilson's interval of a confidence that was counted on a sample of starts.

    It takes the pairs for independent; pairs of one start are not, so it is somewhat too narrow for bodies whose starts
    reach many answers.
    """
    n = np.maximum(pairs, 1)
    share, z = support / n, level**2 / n
    middle = (share + z / 2) / (1 + z)
    half = level * np.sqrt(share * (1 - share) / n + z / (4 * n)) / (1 + z)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def head_sizes(facts: Links, rules: Rules) -> Int[np.ndarray, " rules"]:
    """Facts of each rule's head, those with its constant where it has one."""
    sizes = np.diff(facts.starts)
    directed = 2 * rules.num_relations
    totals = np.bincount(facts.steps, weights=sizes, minlength=directed).astype(np.int64)
    result = totals[rules.heads]
    rows = np.flatnonzero(~rules.are_chains)
    if len(rows) and len(sizes):
        owners = np.repeat(np.arange(len(facts.segments) - 1), np.diff(facts.segments))
        keys = owners * directed + facts.steps
        wanted = rules.answers[rows] * directed + (rules.heads[rows] + rules.num_relations) % directed
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        result[rows] = np.where(keys[at] == wanted, sizes[at], 0)
    return result


def trie_of(bodies: Int[np.ndarray, "bodies longest"]) -> tuple[Trie, Int[np.ndarray, " bodies"]]:
    """The bodies as one trie, and the node at which each ends. Equal bodies end at one node."""
    longest = bodies.shape[1]
    order = np.lexsort(bodies.T[::-1])
    steps: list[int] = []
    depths: list[int] = []
    chains: list[list[int]] = []
    ends = np.zeros(len(bodies), np.int64)
    path: list[int] = []
    for row, body in zip(order.tolist(), bodies[order].tolist(), strict=True):
        chain = body[: body.index(ANY)] if ANY in body else body
        shared = 0
        while shared < min(len(path), len(chain)) and path[shared] == chain[shared]:
            shared += 1
        for depth in range(shared, len(chain)):
            steps.append(chain[depth])
            depths.append(depth + 1)
            chains.append(chain[: depth + 1] + [ANY] * (longest - depth - 1))
        path = chain
        ends[row] = len(steps) - 1
    trie = Trie(
        np.array(steps, np.int64),
        np.array(depths, np.int64),
        _skips(depths),
        np.array(chains, np.int64).reshape(len(steps), longest),
    )
    return trie, ends


def _skips(depths: list[int]) -> Int[np.ndarray, " nodes"]:
    """The next node that is no descendant, from the last node to the first."""
    skips = np.zeros(len(depths), np.int64)
    open_: list[int] = []
    for node in range(len(depths) - 1, -1, -1):
        while open_ and depths[open_[-1]] > depths[node]:
            open_.pop()
        skips[node] = open_[-1] if open_ else len(depths)
        open_.append(node)
    return skips


def _walkers(rules: Rules, links: Links, how: Counting) -> int:
    """Walkers at once within the byte limit. Raises `PlanDoesNotFit`."""
    entities, longest = len(links.segments) - 1, rules.bodies.shape[1]
    one = entities * (16 + 16 * (longest + 2)) + 24 * len(rules)
    if one > how.most_bytes:
        raise PlanDoesNotFit(
            f"counting {len(rules):,} rules on {entities:,} entities needs {show_bytes(one)} of working memory and "
            f"{show_bytes(how.most_bytes)} are allowed: raise the memory limit, or count fewer or shorter rules"
        )
    return max(1, min(how.parts, how.most_bytes // one))


def _by_answer(facts: Links, rules: Rules) -> Bool[np.ndarray, " rules"]:
    """Whether the inverse of the head is more functional: distinct answers a fact more than distinct subjects."""
    subjects = np.diff(facts.firsts)
    inverses = (rules.heads + rules.num_relations) % (2 * rules.num_relations)
    return subjects[inverses] > subjects[rules.heads]


def _starts(
    rules: Rules, links: Links, facts: Links, by_answer: Bool[np.ndarray, " rules"], how: Counting
) -> tuple[Int[np.ndarray, " starts"], float]:
    """The entities to walk from, and their share of all that could be: drawn where the work would pass its limit."""
    every = np.flatnonzero(np.diff(links.segments))
    if how.most_edges is None or len(every) <= _PILOT:
        return every, 1.0
    order = generator(how.seed, "starts of rules").permutation(every)
    pilot = np.sort(order[:_PILOT])
    work = _walk(rules, links, facts, by_answer, pilot, how, 1)[1] / _PILOT
    allowed = int(how.most_edges / max(work, 1.0))
    if allowed >= len(every):
        return every, 1.0
    chosen = np.sort(order[: max(_PILOT, allowed)])
    return chosen, len(chosen) / len(every)


def _chains(
    rules: Rules,
    links: Links,
    facts: Links,
    by_answer: Bool[np.ndarray, " rules"],
    starts: Int[np.ndarray, " starts"],
    how: Counting,
    walkers: int,
    progress: Progress | None,
) -> Int[np.ndarray, "rules 3"]:
    counts = np.zeros((len(rules), 3), np.int64)
    prepared = arranged(rules)
    for first in range(0, len(starts), _BLOCK):
        some = starts[first : first + _BLOCK]
        counts += _walk(rules, links, facts, by_answer, some, how, walkers, prepared)[0]
        if progress is not None:
            progress(first + len(some), len(starts))
    return counts


def arranged(rules: Rules) -> tuple[Trie, Int[np.ndarray, " nodes_bounds"], Int[np.ndarray, " rules"]]:
    """The trie, where the rules of each node begin, and the rules in the order of their nodes."""
    trie, ends = trie_of(rules.bodies)
    order = np.argsort(ends, kind="stable")
    return trie, np.searchsorted(ends[order], np.arange(len(trie.steps) + 1)), order


def _walk(
    rules: Rules,
    links: Links,
    facts: Links,
    by_answer: Bool[np.ndarray, " rules"],
    starts: Int[np.ndarray, " starts"],
    how: Counting,
    walkers: int,
    prepared: tuple[Trie, np.ndarray, np.ndarray] | None = None,
) -> tuple[Int[np.ndarray, "rules 3"], int]:
    """Counts over some starts, and the edges looked at."""
    trie, bounds, order = prepared or arranged(rules)
    found, visited = kernels.count_chains(
        links, facts, trie, bounds, rules.heads[order], by_answer[order], starts, rules.num_relations,
        how.distinct, walkers,
    )  # fmt: skip
    counts = np.empty((len(rules), 3), np.int64)
    counts[order] = found.sum(0)
    return counts, int(visited.sum())


def _constants(
    rules: Rules,
    links: Links,
    facts: Links,
    by_answer: Bool[np.ndarray, " rules"],
    how: Counting,
    walkers: int,
) -> Int[np.ndarray, "rules 3"]:
    counts = np.zeros((len(rules), 3), np.int64)
    free = (rules.ends == ANY) & (rules.lengths == 1)
    if free.any():
        both = kernels.bearers_of_both(links, facts, 2 * rules.num_relations, how.distinct)
        some = rules.take(free)
        counts[free] = kernels.count_free(
            links, facts, both, some.bodies[:, 0], some.heads, some.answers, by_answer[free], rules.num_relations,
            how.distinct,
        )  # fmt: skip
    some = rules.take(~free)
    counts[~free] = kernels.count_constants(
        links, facts, some.bodies, some.ends, some.heads, some.answers, by_answer[~free], rules.num_relations,
        how.distinct, walkers,
    )  # fmt: skip
    return counts
