"""One counted rule of a run by its formula, with the pairs that it gives, where it holds and where it fails."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from corollary.errors import InputError, UnknownName
from corollary.graph.folder import Graph
from corollary.records.explanation import wilson
from corollary.records.rule_sheet import NamedFact, RulePair, RuleSheet, Which
from corollary.rules.applying import Application
from corollary.rules.files.atoms import clause_of
from corollary.rules.files.reading import rule_from_text
from corollary.rules.files.writing import text_of
from corollary.rules.rule import Rule, Rules
from corollary.runs.explaining.asked import Triple, entity_name, relation_name, split_of
from corollary.runs.explaining.by_rules import facts_of, sentence_of
from corollary.runs.rules.kind import load_rules, names_of, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run

WAYS = 3
"""Walks shown for a pair."""
_AT_ONCE = 256
"""Entities from which the body is walked at once."""


def rule_sheet(
    run: Run, formula: str, *, which: Which = "all", offset: int = 0, limit: int = 50
) -> RuleSheet:
    """A rule of a run with some of its pairs, in the order of ids.

    Args:
        formula: as `rules show` prints it, such as `r(X, Y) <- p(X, A), q(A, Y)`.
        offset: pairs of this kind that are passed over.

    Raises `InputError` where the formula is none, `UnknownName` where the run does not hold it.

    Cost: walks from the entities that have the body's first step, until `offset + limit` pairs are found.
    """
    options = run.options
    if not isinstance(options, WithRules):
        raise InputError(f"{run.path} is a run of {run.kind.name}, which holds no counted rules")
    graph, names = run.graph, names_of(run.graph)
    rules = _loaded(run)
    rule = rule_from_text(formula, names)
    row = rules.find(rule)
    if row < 0:
        raise UnknownName(
            f"{run.folder.name} does not hold the rule {formula}: corollary rules show lists its rules"
        )
    one = rules.take(np.array([row]))
    application = Application(one, train_links(graph), options.how.changed(confidence="standard"))
    found: list[RulePair] = []
    passed = 0
    for subject, answer in _pairs(application, rule):
        triple = _as_triple(rule, subject, answer, graph)
        split = split_of(graph, triple)
        if which != "all" and (split is None) != (which == "fails"):
            continue
        passed += 1
        if passed > offset + limit:
            break
        if passed > offset:
            walks = application.groundings(0, subject, answer, most=WAYS)
            ways = [[_named(t, graph) for t in facts_of(rule, walk.entities, graph)] for walk in walks]
            head, _, tail = triple
            found.append(
                RulePair(head=entity_name(graph, head), tail=entity_name(graph, tail), split=split, ways=ways)
            )
    support, pairs, held_out = int(one.support[0]), int(one.pairs[0]), int(one.heldout_support[0])
    coverage = float(one.head_coverage[0])
    return RuleSheet(
        run=run.folder.name,
        formula=text_of(clause_of(rule, names)),
        sentence=sentence_of(rule, graph),
        relation=relation_name(graph, rule.head % graph.num_relations),
        train=wilson(support, pairs),
        pca=wilson(support, int(one.pca_pairs[0])),
        head_coverage=None if np.isnan(coverage) else coverage,
        held_out=None if held_out < 0 else wilson(held_out, pairs - support),
        weight=None if np.isnan(one.weights[0]) else float(one.weights[0]),
        which=which,
        offset=offset,
        pairs=found,
        more=passed > offset + limit,
    )


@lru_cache(maxsize=4)
def _loaded(run: Run) -> Rules:
    return load_rules(run.path)


def _pairs(application: Application, rule: Rule) -> Iterator[tuple[int, int]]:
    """Subjects and answers, walked from some subjects at a time."""
    links = application.links
    step = rule.body[0]
    subjects = links.bearers[links.firsts[step] : links.firsts[step + 1]]
    for first in range(0, len(subjects), _AT_ONCE):
        some = np.sort(subjects[first : first + _AT_ONCE]).astype(np.int64)
        offsets, answers, _ = application.scores(some, np.full(len(some), rule.head))
        for at, subject in enumerate(some.tolist()):
            for answer in answers[offsets[at] : offsets[at + 1]].tolist():
                yield subject, answer


def _as_triple(rule: Rule, subject: int, answer: int, graph: Graph) -> Triple:
    count = graph.num_relations
    return (subject, rule.head, answer) if rule.head < count else (answer, rule.head - count, subject)


def _named(triple: Triple, graph: Graph) -> NamedFact:
    head, relation, tail = triple
    return NamedFact(
        head=entity_name(graph, head), relation=relation_name(graph, relation), tail=entity_name(graph, tail)
    )
