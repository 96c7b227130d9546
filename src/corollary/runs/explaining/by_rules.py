"""Counted rules that derive the prediction, with the facts by which they hold, the prediction's own edge left out."""

from dataclasses import dataclass

import numpy as np

from corollary.graph.folder import Graph
from corollary.kernels.paths import Links
from corollary.records.explanation import Binding, Missing, RuleReason, RuleReasons, wilson
from corollary.rules.applying import Application
from corollary.rules.files.atoms import clause_of
from corollary.rules.files.writing import text_of
from corollary.rules.rule import Rule, Rules
from corollary.runs.explaining.asked import AskedTriple, FactList, Triple
from corollary.runs.rules.kind import load_rules, names_of, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run

PART = "rules"
_MOST_WALKS = 1000
"""Groundings that are counted; more are said to be at least so many."""


@dataclass(frozen=True)
class RuleLimits:
    rules: int = 10
    groundings: int = 5


@dataclass(frozen=True)
class Firing:
    """One rule of one run that gives the answer."""

    run: Run
    application: Application
    row: int

    @property
    def rules(self) -> Rules:
        return self.application.rules

    @property
    def rule(self) -> Rule:
        return self.rules[self.row]


def with_rules(runs: list[Run]) -> list[Run]:
    """Those of the runs that hold counted rules."""
    return [run for run in runs if isinstance(run.options, WithRules) and (run.path / "rules.npz").exists()]


def rule_reasons(
    runs: list[Run], asked: AskedTriple, facts: FactList, limits: RuleLimits = RuleLimits()
) -> RuleReasons | Missing:
    """Rules of all runs that give the answer, by falling confidence; the same rule of two runs once."""
    holders = with_rules(runs)
    if not holders:
        return Missing(missing="no run with rules was given: corollary rules mine, or train drum")
    links = links_without(asked, [asked.triple])
    found: list[Firing] = []
    for run in holders:
        found += _fired(run, asked, links)
    once = list({_identity(one): one for one in reversed(found)}.values())[::-1]
    order = sorted(
        once, key=lambda one: -float(one.rules.confidence(one.application.how.confidence)[one.row])
    )
    shown: list[RuleReason] = []
    first_with: dict[tuple[tuple[int, ...], ...], str] = {}
    for one in order[: limits.rules]:
        reason = _reason(one, asked, facts, limits.groundings)
        grounds = tuple(sorted(tuple(sorted(binding.facts)) for binding in reason.groundings))
        like = first_with.setdefault(grounds, reason.id)
        shown.append(reason if like == reason.id else reason.model_copy(update={"like": like}))
    return RuleReasons(total=len(once), shown=shown)


def links_without(asked: AskedTriple, triples: list[Triple]) -> Links:
    """The training triples both ways, without some. Memory: 64 bytes a triple."""
    return train_links(asked.graph.without(np.array(triples)))


def _fired(run: Run, asked: AskedTriple, links: Links) -> list[Firing]:
    options = run.options
    assert isinstance(options, WithRules)
    rules = load_rules(run.path)
    application = Application(rules.take(rules.relations == asked.relation), links, options.how)
    offsets, answers, rows = application.fired(np.array([asked.entity]), np.array([asked.directed]))
    mine = slice(int(offsets[0]), int(offsets[1]))
    return [Firing(run, application, int(row)) for row in rows[mine][answers[mine] == asked.answer]]


def _identity(one: Firing) -> tuple[object, ...]:
    rule = one.rule
    return rule.head, rule.body, rule.answer, rule.end


def _reason(one: Firing, asked: AskedTriple, facts: FactList, most: int) -> RuleReason:
    rules, row, rule = one.rules, one.row, one.rule
    forward = rule.head < asked.graph.num_relations
    subject, target = (asked.head, asked.tail) if forward else (asked.tail, asked.head)
    walks = one.application.groundings(row, subject, target, most=_MOST_WALKS)
    held_out = int(rules.heldout_support[row])
    return RuleReason(
        id=f"{one.run.folder.name}:{row}",
        sentence=sentence_of(rule, asked.graph),
        formula=text_of(clause_of(rule, names_of(asked.graph))),
        weight=None if np.isnan(rules.weights[row]) else float(rules.weights[row]),
        train=wilson(int(rules.support[row]), int(rules.pairs[row])),
        held_out=None if held_out < 0 else wilson(held_out, int(rules.pairs[row] - rules.support[row])),
        total_groundings=len(walks),
        groundings=[
            Binding(
                facts=[facts.cite(triple, PART) for triple in facts_of(rule, walk.entities, asked.graph)],
                entities=list(walk.entities[1 : len(rule.body)]),
            )
            for walk in walks[:most]
        ],
        like=None,
    )


def facts_of(rule: Rule, entities: tuple[int, ...], graph: Graph) -> list[Triple]:
    """The triples on a walk, as the graph holds them."""
    count = graph.num_relations
    pairs = zip(rule.body, entities, entities[1:], strict=False)
    return [(one, step, other) if step < count else (other, step - count, one) for step, one, other in pairs]


def sentence_of(rule: Rule, graph: Graph) -> str:
    """The rule in words: each word follows from the rule alone."""
    count = graph.num_relations
    names = ["X", *"ABCDEFGH"[: len(rule.body) - 1]]
    last = "Y" if rule.is_chain else ("Z" if rule.end < 0 else graph.entities.name(rule.end))
    names.append(last)
    steps = []
    for number, step in enumerate(rule.body):
        one, other = names[number], names[number + 1]
        first, second = (one, other) if step < count else (other, one)
        steps.append(f"{first} {graph.relations.name(step % count)} {second}")
    answer = "Y" if rule.is_chain else graph.entities.name(rule.answer)
    one, other = ("X", answer) if rule.head < count else (answer, "X")
    return f"if {' and '.join(steps)}, then {one} {graph.relations.name(rule.head % count)} {other}"
