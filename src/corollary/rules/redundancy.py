"""Rules that say nothing beyond another: special ones under a more general one, and chains with the same pairs.

AMIE's skyline (Galárraga et al. 2013), for what is mined here: a rule with a constant at the end of its body is more
special than the same rule that ends anywhere. Clusters of rules by the pairs that they give: Ott et al. 2021 (SAFRAN).
"""

import numpy as np
from jaxtyping import Bool, Int

from corollary.kernels.paths import Links
from corollary.kernels.rule_counts import pair_signatures
from corollary.rules.counting import Counting, arranged
from corollary.rules.rule import ANY, Rules


def without_redundant(rules: Rules) -> Rules:
    """Rules without duplicates, without their own head as the body, and without more special ones of no more use."""
    rules = rules.once()
    return rules.take(~(is_own_head(rules) | _more_special(rules)))


def without_similar(rules: Rules, links: Links, *, least: float, how: Counting = Counting()) -> Rules:
    """Rules without those whose pairs a better rule of the head gives too (Jaccard similarity of at least `least`)."""
    groups = clusters(rules, links, least=least, how=how)
    return rules.take(groups == np.arange(len(rules)))


def is_own_head(rules: Rules) -> Bool[np.ndarray, " rules"]:
    """Whether the body is the head itself, `r(X, Y) <= r(X, Y)`, or says the same with a constant."""
    one_step = (rules.lengths == 1) & (rules.bodies[:, 0] == rules.heads)
    return one_step & (rules.answers == rules.ends)


def _more_special(rules: Rules) -> Bool[np.ndarray, " rules"]:
    """Rules with a constant at the end where the rule without it has at least their confidence."""
    confidence = rules.confidence("laplace")  # NaN, which is unknown, is never at least as good
    general = {}
    for row in np.flatnonzero((rules.answers != ANY) & (rules.ends == ANY)).tolist():
        general[(int(rules.heads[row]), int(rules.answers[row]), tuple(rules.bodies[row].tolist()))] = row
    result = np.zeros(len(rules), bool)
    if not general:
        return result
    for row in np.flatnonzero((rules.answers != ANY) & (rules.ends != ANY)).tolist():
        key = (int(rules.heads[row]), int(rules.answers[row]), tuple(rules.bodies[row].tolist()))
        other = general.get(key)
        result[row] = other is not None and confidence[other] >= confidence[row]
    return result


def clusters(
    rules: Rules, links: Links, *, least: float = 0.95, how: Counting = Counting(), hashes: int = 64
) -> Int[np.ndarray, " rules"]:
    """A number for each rule; chains of one head whose pairs overlap enough share it.

    Jaccard similarity of the pairs is estimated from the least `hashes` of their hash values by minwise hashing
    (Broder 1997; standard error .5 / sqrt(hashes) at the worst); rules are joined to the best rule of a cluster.
    Memory: 8 * hashes bytes a rule.
    """
    result = np.arange(len(rules))
    rows = np.flatnonzero(rules.are_chains)
    if not len(rows):
        return result
    chains = rules.take(rows)
    trie, bounds, order = arranged(chains)
    every = np.flatnonzero(np.diff(links.segments))
    found = pair_signatures(links, trie, bounds, len(order), every, hashes, how.distinct)
    signatures = np.empty_like(found)
    signatures[order] = found
    best_first = np.lexsort((rows, -chains.confidence("laplace")))  # unknown ones last
    leaders: dict[int, list[int]] = {}
    for at in best_first.tolist():
        mine = leaders.setdefault(int(chains.heads[at]), [])
        if mine:
            alike = (signatures[mine] == signatures[at]).mean(1)
            nearest = int(alike.argmax())
            if alike[nearest] >= least:
                result[rows[at]] = result[rows[mine[nearest]]]
                continue
        mine.append(at)
    return result
