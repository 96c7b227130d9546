"""The prediction once more without some facts, by runs whose scores follow from the facts of the moment.

Counted rules and DRUM walk over the facts, an HGT sends messages along them: the same weights score again exactly. What
ConvE says is in its weights alone; taking a fact from it means to train again (`tracin verify`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from corollary.learners.counted_rules import CountedRules
from corollary.learners.fusion import whole_scores
from corollary.records.explanation import Missing, Rescored
from corollary.rules.rule import Rules
from corollary.runs.explaining.asked import AskedTriple, FactList, Triple
from corollary.runs.explaining.by_rules import PART
from corollary.runs.explaining.standing import Standing, filtered_rank
from corollary.runs.kinds import RankingKind, Rescores
from corollary.runs.rules.kind import load_rules, train_links
from corollary.runs.rules.options import WithRules

NONE = "only rules, DRUM and HGT score again without training again, and no such run was given"


def without_cited(
    standings: Sequence[Standing], asked: AskedTriple, facts: FactList, most: int
) -> list[Rescored] | Missing:
    """Without each of the first facts that rules cite, and without all of these, by runs that do it quickly."""
    numbers = sorted(facts.cited(PART))[:most]
    if not able(standings, asked, ("quickly",)) or not numbers:
        return Missing(missing=NONE if not numbers or not able(standings, asked) else "no rule derives it")
    sets = [[number] for number in numbers] + ([numbers] if len(numbers) > 1 else [])
    triples = {number: facts.triple(number) for number in numbers}
    return rescored(able(standings, asked, ("quickly",)), asked, triples, sets)


def rescored(
    standings: Sequence[Standing],
    asked: AskedTriple,
    facts: Mapping[int, Triple],
    sets: Sequence[Sequence[int]],
) -> list[Rescored]:
    """Ranks without each set of facts, beside the rank with all; the prediction's own edge is left out of both.

    Args:
        facts: triples of the training set by number.
        sets: numbers of the facts that are taken away together.
    """
    found = []
    for one in standings:
        rules = _rules_of(one, asked)
        before = _rank(one, asked, [], rules)
        for removed in sets:
            rank = _rank(one, asked, [facts[number] for number in removed], rules)
            found.append(Rescored(removed=list(removed), run=one.name, rank_before=before, rank=rank))
    return found


def able(
    standings: Sequence[Standing], asked: AskedTriple, how: Sequence[Rescores] = ("quickly", "slowly")
) -> list[Standing]:
    """Runs that score again without a fact."""
    return [
        one
        for one in standings
        if isinstance(one.run.kind, RankingKind) and one.run.kind.rescores in how and one.asks(asked.side)
    ]


def _rules_of(one: Standing, asked: AskedTriple) -> Rules | None:
    """Of a run of counted rules those of the asked relation, read once: the others say nothing of it."""
    if one.run.kind.name != "rules":
        return None
    rules = load_rules(one.run.path)
    return rules.take(rules.relations == asked.relation)


def _rank(one: Standing, asked: AskedTriple, triples: Sequence[Triple], rules: Rules | None) -> float:
    smaller = one.run.without(np.array([asked.triple, *triples]))
    if rules is None:
        scorer = smaller.scorer
    else:
        assert isinstance(smaller.options, WithRules)
        scorer = CountedRules(rules, train_links(smaller.graph), smaller.options.how)
    return filtered_rank(whole_scores(scorer, asked.queries, one.block_rows)[0], asked)
