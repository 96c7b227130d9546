"""Rules of a run for people: filtered, sorted, with names; their quality by target; and what they give, with groundings."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from corollary.errors import InputError, RunError
from corollary.graph.folder import Graph
from corollary.kernels.paths import Links
from corollary.rules.applying import Application
from corollary.rules.files.atoms import clause_of
from corollary.rules.files.writing import figures_of, text_of
from corollary.rules.rule import Rules
from corollary.runs.predicting import Question, check_targets
from corollary.runs.rules.kind import load_rules, names_of, relation_ids, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run
from corollary.storage import new_file

SortBy = Literal["laplace", "standard", "pca", "heldout", "weight", "support", "head_coverage"]

_LACKING: dict[SortBy, str] = {
    "weight": ", which is a model's (train drum)",
    "heldout": ", which is counted on validation triples",
}
"""Where figures come from that not every run has."""


@dataclass(frozen=True)
class ShownRules:
    """Rules with their figures."""

    run: str
    rules: Rules
    texts: list[str]

    def to_pandas(self) -> pd.DataFrame:
        """One row a rule: text and figures."""
        return pd.DataFrame({"rule": self.texts, **figures_of(self.rules)})


def show_rules(
    run: Run,
    *,
    targets: Sequence[str] = (),
    least_support: int = 0,
    least_confidence: float = 0.0,
    sort: SortBy = "laplace",
    limit: int | None = None,
) -> ShownRules:
    """The rules of a run that pass the filters, best first.

    Args:
        least_confidence: least Laplace confidence.

    Raises `InputError` for a figure to sort by that none of the rules has.
    """
    rules = load_rules(run.path)
    wanted = relation_ids(run.graph, targets, "targets")
    keep = rules.support >= least_support
    if least_confidence > 0:  # else rules that nobody has counted are shown too
        keep &= rules.confidence("laplace") >= least_confidence
    if wanted is not None:
        keep &= np.isin(rules.relations, wanted)
    rules = rules.take(keep)
    values = figures_of(rules)[sort].astype(float)
    if len(rules) and np.isnan(values).all():
        raise InputError(
            f"none of the rules of {run.path} has a {sort}{_LACKING.get(sort, '')}: sort by another figure"
        )
    best_first = np.argsort(-values, kind="stable")  # unknown ones, NaN, come last
    rules = rules.take(best_first[:limit])
    names = names_of(run.graph)
    return ShownRules(run.folder.name, rules, [text_of(clause_of(rule, names)) for rule in rules])


def quality_by_target(run: Run, *, top: int = 10, split: str = "valid") -> pd.DataFrame:
    """For each target: precision, recall and F1 on a split of its best rule among the `top` that training ranks first.

    A rule gives the pairs of its body that are no training facts; precision is the share of them that the split holds.
    Columns end in `_micro` and `_macro` nowhere: the last two rows, `(micro)` and `(macro)`, are the averages.
    """
    rules = load_rules(run.path)
    if (rules.heldout_support < 0).any():
        raise InputError(f"{run.path} has no held-out figures: its graph has no {split} triples")
    rows = []
    for target in np.unique(rules.relations).tolist():
        mine = rules.take(rules.relations == target).by("laplace")
        mine = mine.take(np.arange(min(top, len(mine))))
        new = np.maximum(mine.pairs - mine.support, 1)
        precision = mine.heldout_support / new
        recall = mine.heldout_support / np.maximum(mine.heldout_size, 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(np.argmax(f1))
        rows.append(
            {
                "target": run.graph.relations.label(target),
                "rule": text_of(clause_of(mine[best], names_of(run.graph))),
                "given": int(new[best]),
                "right": int(mine.heldout_support[best]),
                "facts": int(mine.heldout_size[best]),
                "precision": float(precision[best]),
                "recall": float(recall[best]),
                "f1": float(f1[best]),
            }
        )
    frame = pd.DataFrame(rows)
    if len(frame):
        given, right, facts = (frame[name].sum() for name in ("given", "right", "facts"))
        precision, recall = right / max(given, 1), right / max(facts, 1)
        micro = {"precision": precision, "recall": recall, "f1": 2 * right / max(given + facts, 1)}
        macro = {name: frame[name].mean() for name in ("precision", "recall", "f1")}
        counts = {"given": given, "right": right, "facts": facts}
        frame.loc[len(frame)] = {"target": "(micro)", "rule": "", **counts, **micro}
        frame.loc[len(frame)] = {"target": "(macro)", "rule": "", **counts, **macro}
    return frame


@dataclass(frozen=True)
class Asked:
    """A query: one entity and a relation, with the side that is looked for."""

    entity: int
    relation: int
    """Directed."""


def apply_rules(
    run: Run,
    questions: Sequence[Question],
    *,
    k: int = 10,
    groundings: int = 3,
    new_only: bool = False,
) -> Iterator[dict[str, Any]]:
    """Answers by counted rules, best first, with the rules that give them and the facts by which those hold: one record an
    answer, as it goes into JSONL.

    Args:
        k: answers a question.
        groundings: most of each rule.
        new_only: leave out what the graph holds.

    Raises `InputError` for a relation that the run does not cover.
    """
    check_targets(run, questions)
    entities, relations = run.graph.entities, run.graph.relations
    asked = []
    for question in questions:
        given = question.head if question.side == "tail" else question.tail
        step = relations.find(question.relation, where=question.where)
        shift = 0 if question.side == "tail" else len(relations)
        asked.append(Asked(entities.find(str(given), where=question.where), step + shift))
    return applied(run, asked, k=k, groundings=groundings, new_only=new_only)


def applied(
    run: Run,
    asked: Sequence[Asked],
    *,
    k: int = 10,
    rules_per_answer: int = 5,
    groundings: int = 3,
    new_only: bool = False,
) -> Iterator[dict[str, Any]]:
    """The same for queries by id."""
    options = run.options
    if not isinstance(options, WithRules):
        raise RunError(f"{run.path} is a run of {run.kind.name}, which holds no counted rules")
    links = train_links(run.graph)
    application = Application(load_rules(run.path), links, options.how)
    entities, relations = (
        np.array([getattr(q, name) for q in asked], np.int64) for name in ("entity", "relation")
    )
    offsets, answers, scores = application.scores(entities, relations)
    fired_offsets, fired_answers, fired = application.fired(entities, relations)
    known = run.graph.answers("known")
    for number, query in enumerate(asked):
        mine = slice(offsets[number], offsets[number + 1])
        ids, values = answers[mine], scores[mine]
        is_known = known.contains(np.full(len(ids), query.entity), np.full(len(ids), query.relation), ids)
        order = [at for at in np.lexsort((ids, -values)).tolist() if not (new_only and is_known[at])][:k]
        by = slice(fired_offsets[number], fired_offsets[number + 1])
        for place, at in enumerate(order, start=1):
            answer = int(ids[at])
            rows = fired[by][fired_answers[by] == answer][:rules_per_answer]
            yield {
                **_query_record(run.graph, query, answer),
                "place": place,
                "score": float(values[at]),
                "known": bool(is_known[at]),
                "rules": [
                    _reason(run.graph, links, application, int(row), query, answer, groundings)
                    for row in rows
                ],
            }


def write_applied(path: Path, records: Iterator[dict[str, Any]]) -> int:
    """Write the records as JSONL; how many."""
    number = 0
    with new_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            number += 1
    return number


def _query_record(graph: Graph, query: Asked, answer: int) -> dict[str, Any]:
    count, label = graph.num_relations, graph.entities.label
    tail = query.relation < count
    return {
        "head": label(query.entity if tail else answer),
        "relation": graph.relations.label(query.relation % count),
        "tail": label(answer if tail else query.entity),
        "side": "tail" if tail else "head",
    }


def _reason(
    graph: Graph, links: Links, application: Application, row: int, query: Asked, answer: int, most: int
) -> dict[str, Any]:
    """A rule with its figures, and facts by which it holds."""
    rules = application.rules
    rule = rules[row]
    subject, target = (query.entity, answer) if rule.head == query.relation else (answer, query.entity)
    walks = application.groundings(row, subject, target, most=most)
    return {
        "rule": text_of(clause_of(rule, names_of(graph))),
        "confidence": float(rules.confidence(application.how.confidence)[row]),
        "support": int(rules.support[row]),
        "pairs": int(rules.pairs[row]),
        "groundings": [_facts(graph, rule.body, walk.entities) for walk in walks],
    }


def _facts(graph: Graph, body: Sequence[int], entities: Sequence[int]) -> list[list[str]]:
    """The triples on a walk, as the graph holds them."""
    count, label, facts = graph.num_relations, graph.entities.label, []
    for step, one, other in zip(body, entities, entities[1:], strict=False):
        head, tail = (one, other) if step < count else (other, one)
        facts.append([label(head), graph.relations.label(step % count), label(tail)])
    return facts
