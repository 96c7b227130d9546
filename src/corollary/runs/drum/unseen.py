"""A relation that the run's graph does not have, asked by its name and by the few facts that are known of it.

Two answers stand side by side: the model's, by a query made from what the relation is like, and that of rules counted
on those facts alone. Which is the better one: docs/drum.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from corollary.errors import ConfigError, InputError, RunError
from corollary.kernels.drum.bodies import body_shares
from corollary.learners.drum.extracting import decoded
from corollary.learners.drum.learner import Drum
from corollary.learners.drum.unseen import AdaptingConfig
from corollary.learners.protocol import Queries
from corollary.rules.applying import Application
from corollary.rules.files.atoms import Names, clause_of
from corollary.rules.files.writing import text_of
from corollary.rules.mining import Mining, mine
from corollary.rules.rule import Rules, links_of
from corollary.runs.drum.elsewhere import facts_on, members_on
from corollary.runs.drum.options import DrumOptions
from corollary.runs.predicting import Question, tab_separated
from corollary.runs.run import Run

_WALKS = 10_000  # of an answer, that are followed for its strongest body


@dataclass(frozen=True)
class UnseenAnswers:
    """Answers to one question about a relation without training."""

    question: Question
    num_facts: int
    model: list[dict[str, Any]]
    """place, label, name, score, known, body (the one that most of the score goes through) and its share."""
    rules: list[dict[str, Any]]
    """place, label, name, score, known, rule, support and pairs of the best rule."""

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        asked = {"query": str(self.question), "facts": self.num_facts}
        return {**asked, "model": self.model, "rules": self.rules}


def predict_unseen(
    run: Run,
    question: Question,
    facts: Sequence[tuple[str, str]] = (),
    *,
    k: int = 10,
    adapting: AdaptingConfig = AdaptingConfig(),
) -> UnseenAnswers:
    """The `k` most plausible answers of a question about a relation that the run never saw.

    Args:
        question: its relation's name is read too, as descriptions of the others' names were in training.
        facts: heads and tails that are known to have it, by label or name.

    Raises `RunError` for a run whose queries are not generated, `ConfigError` for a relation that the graph has,
    `UnknownName` with the nearest name.
    Memory: the facts as links once more, and the weights.
    """
    options, graph = run.options, run.graph
    if not isinstance(options, DrumOptions) or not options.model.generated:
        raise RunError(
            f"{run.path} cannot be asked for a relation that it did not see: train one with corollary train drum "
            "--generated-queries"
        )
    names = list(graph.relations.labels)
    if question.relation in names:
        raise ConfigError(f"{graph.path} has the relation {question.relation!r}: ask for it with --relation")
    new = len(names)
    pairs = [(graph.entities.find(head), new, graph.entities.find(tail)) for head, tail in facts]
    known = np.array(pairs, np.int64).reshape(-1, 3)
    triples = np.concatenate([np.asarray(graph.triples("train")), known])
    names.append(question.relation)
    links = links_of(triples, graph.num_entities, new + 1)
    data = facts_on(run, options, links, triples, names, np.arange(new))
    learner = members_on(run, options, data, np.arange(new), adapting)[-1].learner
    tail_asked = question.side == "tail"
    entity = graph.entities.find(str(question.head if tail_asked else question.tail))
    asked = Queries(torch.tensor([entity]), torch.tensor([new if tail_asked else 2 * new + 1]))
    given = set(known[known[:, 0 if tail_asked else 2] == entity][:, 2 if tail_asked else 0].tolist())
    written = Names(graph.entities, names)
    by_model = [
        _answer(run, place, answer, score, answer in given) | _strongest_body(learner, asked, answer, written)
        for place, (answer, score) in enumerate(_best(learner, asked, k), start=1)
    ]
    by_rules = []
    if pairs:
        mining = Mining(min_support=1, constants=False, longest=min(options.model.rule_length, 3))
        application = Application(mine(links, new + 1, targets=[new], mining=mining), links, options.how)
        by_rules = [
            _answer(run, place, answer, score, answer in given)
            | _first_rule(application, asked, answer, written)
            for place, (answer, score) in enumerate(_best_by_rules(application, asked, k), start=1)
        ]
    return UnseenAnswers(question, len(pairs), by_model, by_rules)


def read_facts(path: Path, relation: str) -> list[tuple[str, str]]:
    """Heads and tails of a file of `head<TAB>relation<TAB>tail`. Raises `InputError` naming the line."""
    facts = []
    for where, (head, name, tail) in tab_separated(path):
        if name != relation:
            raise InputError(f"{where}: relation {name!r}, and the new one is {relation!r}")
        facts.append((head, tail))
    return facts


def _best(learner: Drum, asked: Queries, k: int) -> list[tuple[int, float]]:
    """Entities that any walk reaches, best first, ids rising among equals."""
    scores = learner.prepare(asked)[0].numpy()
    order = np.lexsort((np.arange(len(scores)), -scores))[:k]
    return [(int(entity), float(scores[entity])) for entity in order if scores[entity] > 0]


def _best_by_rules(application: Application, asked: Queries, k: int) -> list[tuple[int, float]]:
    _, answers, scores = application.scores(asked.entity_ids.numpy(), asked.relation_ids.numpy())
    order = np.lexsort((answers, -scores))[:k]
    return [(int(answers[row]), float(scores[row])) for row in order]


def _answer(run: Run, place: int, entity: int, score: float, known: bool) -> dict[str, Any]:
    label, name = run.graph.entities.label(entity), run.graph.entities.name(entity)
    return {"place": place, "label": label, "name": name, "score": score, "known": known}


def _strongest_body(learner: Drum, asked: Queries, answer: int, names: Names) -> dict[str, Any]:
    """The body that carries most of an answer's score."""
    data, relation = learner.data, int(asked.relation_ids[0])
    assert data is not None
    codes, shares, _ = body_shares(
        data.links, learner.attention(asked.relation_ids)[0], relation, asked.entity_ids.numpy(), np.array([answer]),
        learner.config.normalise, learner.num_relations, _WALKS,
    )  # fmt: skip
    if not len(codes):  # only the fact itself leads there
        return {"body": "", "share": 0.0}
    bodies, inverse = np.unique(codes, return_inverse=True)
    sums = np.bincount(inverse, weights=shares)
    best = int(sums.argmax())
    steps = decoded(bodies[best : best + 1], 2 * learner.num_relations + 1, learner.config.rule_length)
    rule = Rules.uncounted(learner.num_relations, heads=_row(relation), bodies=steps)[0]
    text = text_of(clause_of(rule, names)) if rule.body else "X = Y"
    return {"body": text, "share": float(sums[best])}


def _first_rule(application: Application, asked: Queries, answer: int, names: Names) -> dict[str, Any]:
    """The best rule that gives an answer."""
    _, answers, fired = application.fired(asked.entity_ids.numpy(), asked.relation_ids.numpy())
    row = int(fired[answers == answer][0])
    rules = application.rules
    text = text_of(clause_of(rules[row], names))
    return {"rule": text, "support": int(rules.support[row]), "pairs": int(rules.pairs[row])}


def _row(value: int) -> Int[np.ndarray, " one"]:
    return np.array([value])
