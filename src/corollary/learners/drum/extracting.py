"""Rules out of a trained DRUM: the bodies over which its score for known facts really comes.

The largest attention of each step makes wrong rules: what arrives is normalised, so attention on an operator that leads
nowhere costs nothing, and the operator that carries all may have little (measured: docs/drum.md). So walks of known
facts are followed, each body gets the share of the score that comes over it, and counting decides.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field, PositiveInt

from corollary.config import Config
from corollary.errors import ConfigError
from corollary.kernels.drum.bodies import body_shares
from corollary.learners.drum.learner import Drum
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.rules.redundancy import is_own_head
from corollary.rules.rule import Rules, joined, turned


class ExtractingConfig(Config):
    """How rules are taken from a model."""

    facts: PositiveInt = 200
    """Facts of each target whose walks are followed, drawn where there are more."""
    top: PositiveInt = 100
    """Bodies of each target that are kept: those with the largest shares."""
    least_share: float = Field(0.0, ge=0, le=1)
    """Least mean share of a body."""
    walks: PositiveInt = 100_000
    """Walks of a fact that are followed."""
    candidates: int = Field(1000, ge=0)
    """Bodies of each target that are counted beside those: of the chains beside known facts, the most frequent ones, so
    that no rule is missed because the model ignores it. 0: none."""


def grounded_rules(
    learner: Drum,
    targets: Sequence[int],
    config: ExtractingConfig = ExtractingConfig(),
    *,
    seed: int,
    say: Say = silent,
) -> Rules:
    """Uncounted chains of each target, with their mean share over both directions as weight, largest first.

    Memory: 24 bytes a walk of one target's facts.
    """
    data, count = learner.data, learner.num_relations
    assert data is not None
    base = 2 * count + 1
    if base**learner.config.rule_length >= 2**63:
        raise ConfigError(
            f"bodies of {learner.config.rule_length} of {2 * count} steps have no numbers: train with shorter rules"
        )
    found, cut = [], 0
    for target in targets:
        facts = data.triples[data.triples[:, 1] == target]
        rows = generator(seed, "facts of rules", target).permutation(len(facts))[: config.facts]
        heads, tails = (facts[np.sort(rows), column].astype(np.int64) for column in (0, 2))
        attention = learner.attention(torch.tensor([target, target + count]))
        parts = []
        for way, starts, answers in ((0, heads, tails), (1, tails, heads)):
            codes, shares, shortened = body_shares(
                data.links, attention[way], target + way * count, starts, answers, learner.config.normalise, count,
                config.walks,
            )  # fmt: skip
            cut += shortened
            bodies, inverse = np.unique(codes, return_inverse=True)
            sums = np.bincount(inverse, weights=shares, minlength=len(bodies)) / max(2 * len(heads), 1)
            steps = decoded(bodies, base, learner.config.rule_length)
            rules = Rules.uncounted(count, heads=np.full(len(bodies), target), bodies=steps, weights=sums)
            parts.append(rules if way == 0 else _turned(rules))
        found.append(_best(joined(parts, count), config))
    if cut:
        say(f"of {cut:,} facts not all walks were followed")
    return joined(found, count)


def decoded(codes: Int[np.ndarray, " bodies"], base: int, longest: int) -> Int[np.ndarray, "bodies longest"]:
    """The steps of bodies that `body_shares` gave as numbers, ANY behind the last."""
    steps = [codes // base**place % base - 1 for place in range(longest)]
    return np.stack(steps, axis=1) if len(codes) else np.zeros((0, longest), np.int64)


def _turned(rules: Rules) -> Rules:
    """The bodies from X to Y of a query that walked from Y to X."""
    bodies = turned(rules.bodies, rules.num_relations)
    return Rules.uncounted(rules.num_relations, heads=rules.heads, bodies=bodies, weights=rules.weights)


def _best(rules: Rules, config: ExtractingConfig) -> Rules:
    """Equal bodies with their shares added, without the head itself or the empty body, the largest first."""
    rules = rules.take((rules.lengths > 0) & ~is_own_head(rules))
    if not len(rules):
        return rules
    keys, inverse = np.unique(rules.keys(), axis=0, return_inverse=True)
    weights = np.bincount(inverse.ravel(), weights=rules.weights)
    heads, bodies = keys[:, 0], keys[:, 3:]
    order = np.lexsort((np.arange(len(weights)), -weights))[: config.top]
    order = order[weights[order] >= config.least_share]
    return Rules.uncounted(
        rules.num_relations, heads=heads[order], bodies=bodies[order], weights=weights[order]
    )
