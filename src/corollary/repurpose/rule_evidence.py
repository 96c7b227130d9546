"""Rules that derive the pairs of a list, from runs that hold counted rules: mined ones, or DRUM's."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from corollary.graph.folder import Graph
from corollary.kernels.paths import Links
from corollary.repurpose.evidence import RuleShown
from corollary.repurpose.pairs import Pairs
from corollary.rules.applying import Application
from corollary.rules.rule import Rules
from corollary.runs.explaining.by_rules import sentence_of, with_rules
from corollary.runs.rules.kind import load_rules
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run

Place = tuple[int, int]


def rule_evidence(
    runs: Sequence[Run],
    graph: Graph,
    pairs: Pairs,
    links: Links,
    rows: Int[np.ndarray, " asked"],
    *,
    most: int = 5,
) -> dict[Place, tuple[RuleShown, ...]]:
    """By row and column, the rules that derive the pair, the surest first; pairs that none derives are absent.

    Args:
        runs: those without counted rules give nothing.
        links: the edges that bodies are held against (`evidence.Witness.links`).

    Memory: 24 bytes for each derived pair and rule.
    """
    found: dict[Place, list[tuple[float, RuleShown]]] = {}
    directed = pairs.relation_id + (graph.num_relations if pairs.side == "head" else 0)
    for run in with_rules(list(runs)):
        options = run.options
        assert isinstance(options, WithRules)
        rules = load_rules(run.path)
        application = Application(rules.take(rules.relations == pairs.relation_id), links, options.how)
        asked = pairs.rows.entities[rows]
        offsets, answers, fired = application.fired(asked, np.full(len(asked), directed))
        columns = pairs.columns.places(answers.astype(np.int64))
        shown: dict[int, tuple[float, RuleShown]] = {}
        for at, row in enumerate(rows.tolist()):
            for derived in range(int(offsets[at]), int(offsets[at + 1])):
                rule = int(fired[derived])
                if columns[derived] >= 0:
                    if rule not in shown:
                        shown[rule] = _shown(application.rules, rule, graph)
                    found.setdefault((row, int(columns[derived])), []).append(shown[rule])
    return {place: _best(rules, most) for place, rules in found.items()}


def _shown(rules: Rules, row: int, graph: Graph) -> tuple[float, RuleShown]:
    right, of = int(rules.support[row]), int(rules.pairs[row])
    return right / max(of, 1), RuleShown(sentence=sentence_of(rules[row], graph), right=right, of=of)


def _best(rules: list[tuple[float, RuleShown]], most: int) -> tuple[RuleShown, ...]:
    """By falling share of right answers; a rule of two runs once."""
    ordered = sorted(rules, key=lambda rule: (-rule[0], rule[1].sentence))
    return tuple({rule.sentence: rule for _, rule in ordered}.values())[:most]
