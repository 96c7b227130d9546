"""Rules from the bottom up, without training: candidates beside known facts, then exact counts decide.

Chains: all walks of up to three steps that lead from X to Y beside facts r(X, Y), AnyBURL's cyclic rules (Meilicke et
al. 2019), here enumerated beside a sample of the facts rather than drawn. Rules with constants: every pair of a step
and a constant (or of a step alone) that goes together with `head(X, c)`, counted by joining, so none is missed.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int
from pydantic import Field, PositiveInt

from corollary.config import Config
from corollary.kernels.body_candidates import chains_between
from corollary.kernels.paths import LEVELS, Links
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.rules.counting import Counting, count
from corollary.rules.redundancy import is_own_head, without_redundant, without_similar
from corollary.rules.rule import ANY, Progress, Rules, joined

_PIECE = 1 << 22  # pairs joined at once for rules with constants


class Mining(Config):
    """What is looked for."""

    longest: int = Field(3, ge=1, le=LEVELS)
    """Steps of a chain, 1 to 3."""
    constants: bool = True
    """Look for rules with constants, of one step, too."""
    min_support: PositiveInt = 2
    """Least facts of the head that the body gives."""
    min_confidence: float = Field(1e-4, ge=0, le=1)
    """Least standard confidence."""
    min_head_coverage: float = Field(0.0, ge=0, le=1)
    """Least share of the head's facts that the body gives."""
    facts: PositiveInt = 5000
    """Facts of each relation beside which chains are looked for; drawn where there are more."""
    edges_per_fact: PositiveInt = 1_000_000
    """Edges looked at beside one fact before its longest chains are given up."""
    chains_per_head: PositiveInt | None = 1000
    """Most candidates of each relation that are counted: those found beside most facts. null: all, on dense graphs
    hundreds of thousands, which makes questions slow."""
    redundant: bool = False
    """Keep a rule whose body ends in a constant where the same rule that ends anywhere has no less confidence."""
    similar: float | None = Field(None, gt=0, le=1)
    """Of chains whose pairs overlap so much (Jaccard, estimated) keep the best alone, such as 0.95. Not set: all."""


def mine(
    links: Links,
    num_relations: int,
    *,
    targets: Sequence[int] | None = None,
    body_relations: Sequence[int] | None = None,
    heldout: Links | None = None,
    mining: Mining = Mining(),
    how: Counting = Counting(),
    progress: Progress | None = None,
    say: Say = silent,
) -> Rules:
    """Counted rules of a graph, best confidence first.

    Args:
        targets: relations to find rules for; all when not given.
        body_relations: relations that bodies may use; all when not given.

    Memory: what counting needs (`count`), 16 bytes a candidate and its facts, 100 MiB with constants.
    """
    wanted = list(range(num_relations)) if targets is None else sorted(set(targets))
    walked = links if body_relations is None else restricted(links, body_relations, num_relations)
    candidates = chain_candidates(walked, links, num_relations, wanted, mining, how, say)
    say(f"{len(candidates):,} chains are counted")
    rules = _kept(count(candidates, walked, links, how=how, progress=progress), mining)
    if mining.constants:
        candidates = constant_candidates(walked, links, num_relations, wanted, mining)
        say(f"{len(candidates):,} rules with constants are counted")
        rules = joined([rules, _kept(count(candidates, walked, links, how=how), mining)], num_relations)
    if not mining.redundant:
        rules = without_redundant(rules)
    if mining.similar is not None:
        rules = without_similar(rules, walked, least=mining.similar, how=how)
    rules = rules.by("laplace")
    if heldout is not None:
        rules = count(rules, walked, links, heldout=heldout, how=how)
    return rules


def chain_candidates(
    links: Links,
    facts: Links,
    num_relations: int,
    targets: Iterable[int],
    mining: Mining,
    how: Counting,
    say: Say = silent,
) -> Rules:
    """Chains found beside at least `min_support` facts of each target, or one where the facts are a sample."""
    base = 2 * num_relations + 1
    found, cut = [], 0
    for relation in targets:
        starts, answers = facts_of(facts, relation)
        if len(starts) > mining.facts:
            rows = generator(how.seed, "facts of rules", relation).permutation(len(starts))[: mining.facts]
            starts, answers = starts[np.sort(rows)], answers[np.sort(rows)]
        codes, counts, shortened = chains_between(
            links,
            starts,
            answers,
            relation,
            num_relations,
            mining.longest,
            how.distinct,
            mining.edges_per_fact,
        )
        cut += shortened
        least = mining.min_support if len(starts) < mining.facts else 1
        codes, counts = codes[counts >= least], counts[counts >= least]
        if mining.chains_per_head is not None and len(codes) > mining.chains_per_head:
            codes = np.sort(codes[np.lexsort((codes, -counts))[: mining.chains_per_head]])
        bodies = np.stack([codes // base**place % base - 1 for place in range(mining.longest)], axis=1)
        rules = Rules.uncounted(num_relations, heads=np.full(len(bodies), relation), bodies=bodies)
        found.append(rules.take(~is_own_head(rules)))
    if cut:
        say(f"beside {cut:,} facts chains were cut short after {mining.edges_per_fact:,} edges")
    return joined(found, num_relations)


def constant_candidates(
    links: Links, facts: Links, num_relations: int, targets: Iterable[int], mining: Mining
) -> Rules:
    """Rules head(X, c) of one step, to a constant or to anything, with enough support."""
    least = max(1, mining.min_support)
    parts = []
    for relation in targets:
        for head in (relation, relation + num_relations):
            subjects, answers = facts_of(facts, head)
            common = np.bincount(answers, minlength=len(facts.segments) - 1)[answers] >= least
            parts += _joined_constants(links, subjects[common], answers[common], head, num_relations, least)
    nothing = [np.zeros(0, np.int64)] * 4
    heads, answers, steps, ends = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return Rules.uncounted(num_relations, heads=heads, bodies=steps[:, None], answers=answers, ends=ends)


def _joined_constants(
    links: Links,
    subjects: Int[np.ndarray, " facts"],
    answers: Int[np.ndarray, " facts"],
    head: int,
    num_relations: int,
    least: int,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Columns head, answer, step and end of the rules of one head; answers are taken some at a time."""
    order = np.argsort(answers, kind="stable")
    subjects, answers = subjects[order], answers[order]
    degrees = links.starts[links.segments[subjects + 1]] - links.starts[links.segments[subjects]]
    parts, first = [], 0
    done = np.cumsum(degrees)
    while first < len(answers):
        stop = int(np.searchsorted(done, (done[first - 1] if first else 0) + _PIECE, side="right"))
        stop = max(stop, first + 1)
        stop = int(np.searchsorted(answers, answers[stop - 1], side="right"))  # all facts of the last answer
        parts.append(_constants_of(links, subjects[first:stop], answers[first:stop], head, least))
        first = stop
    return parts


def _constants_of(
    links: Links,
    subjects: Int[np.ndarray, " facts"],
    answers: Int[np.ndarray, " facts"],
    head: int,
    least: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    begins, stops = links.segments[subjects], links.segments[subjects + 1]
    fact, segments = _spread(begins, stops)
    steps, who = links.steps[segments].astype(np.int64), answers[fact]
    free = _often(np.column_stack([who, steps, np.full(len(who), ANY)]), least)
    at, edges = _spread(links.starts[segments], links.starts[segments + 1])
    ends = links.targets[edges].astype(np.int64)
    bound = _often(np.column_stack([who[at], steps[at], ends]), least)
    rows = np.concatenate([free, bound])
    itself = (rows[:, 1] == head) & (rows[:, 2] == rows[:, 0])  # head(X, c) because head(X, c)
    rows = rows[~itself]
    return np.full(len(rows), head), rows[:, 0], rows[:, 1], rows[:, 2]


def _often(rows: Int[np.ndarray, "n 3"], least: int) -> Int[np.ndarray, "m 3"]:
    """The rows that stand there at least so many times, once."""
    if not len(rows):
        return rows
    rows = rows[np.lexsort(rows.T[::-1])]
    fresh = np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(1)))
    counts = np.diff(np.append(fresh, len(rows)))
    return rows[fresh[counts >= least]]


def _spread(
    begins: Int[np.ndarray, " n"], stops: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " all"], Int[np.ndarray, " all"]]:
    """The ranges written out: number of the range, and each value in it."""
    sizes = stops - begins
    owners = np.repeat(np.arange(len(begins)), sizes)
    values = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(begins, sizes)
    return owners, values


def facts_of(links: Links, step: int) -> tuple[Int[np.ndarray, " facts"], Int[np.ndarray, " facts"]]:
    """Start and answer of every fact of one directed relation, ascending."""
    rows = np.flatnonzero(links.steps == step)
    bearers = links.bearers[links.firsts[step] : links.firsts[step + 1]].astype(np.int64)
    owner, edges = _spread(links.starts[rows], links.starts[rows + 1])
    return bearers[owner], links.targets[edges].astype(np.int64)


def restricted(links: Links, relations: Sequence[int], num_relations: int) -> Links:
    """The links of some relations alone; ids stay as they are."""
    allowed = np.zeros(2 * num_relations, bool)
    allowed[list(relations)] = allowed[np.array(list(relations), np.int64) + num_relations] = True
    keep = allowed[links.steps]
    owners = np.repeat(np.arange(len(links.segments) - 1), np.diff(links.segments))
    _, edges = _spread(links.starts[:-1][keep], links.starts[1:][keep])
    sizes = np.diff(links.starts)[keep]
    order = np.argsort(links.steps[keep], kind="stable")
    return Links(
        segments=np.searchsorted(owners[keep], np.arange(len(links.segments))),
        steps=links.steps[keep],
        starts=np.append(0, np.cumsum(sizes)),
        targets=links.targets[edges],
        firsts=np.searchsorted(links.steps[keep][order], np.arange(2 * num_relations + 1)),
        bearers=owners[keep][order].astype(links.bearers.dtype),
    )


def _kept(rules: Rules, mining: Mining) -> Rules:
    enough = rules.support >= mining.min_support
    enough &= rules.confidence("standard") >= mining.min_confidence
    return rules.take(enough & (rules.head_coverage >= mining.min_head_coverage))
