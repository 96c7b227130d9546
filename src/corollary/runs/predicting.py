"""Answers to questions: the most plausible tails or heads, named, with what is known marked."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import torch

from corollary.errors import InputError
from corollary.evaluation.topk import top_answers
from corollary.graph.answers import Side, directed
from corollary.learners.protocol import Queries
from corollary.runs.rules.kind import load_rules
from corollary.runs.run import Run
from corollary.storage import new_file

UNKNOWN = "?"
_NAMED = 12  # targets in a message


@dataclass(frozen=True)
class Answer:
    """One predicted fact. `place` counts from 1; `known` means that the graph holds the fact already."""

    place: int
    label: str
    name: str
    score: float
    known: bool


@dataclass(frozen=True)
class Question:
    """A triple with one side missing; labels as the graph writes them."""

    head: str | None
    relation: str
    tail: str | None
    where: str = field(default="", compare=False, repr=False)
    """File and line it was read from, for messages."""

    @property
    def side(self) -> Side:
        """The side that is asked for."""
        return "tail" if self.tail is None else "head"

    def __str__(self) -> str:
        return f"({self.head or UNKNOWN}, {self.relation}, {self.tail or UNKNOWN})"


@dataclass(frozen=True)
class Prediction:
    """A question and its best answers."""

    question: Question
    answers: list[Answer]

    @property
    def unanswered(self) -> bool:
        """Whether all scores are 0, so that the order of the answers says nothing: no rule or walk leads to any."""
        return bool(self.answers) and all(answer.score == 0 for answer in self.answers)


@dataclass(frozen=True)
class Predictions:
    """Answers to several questions, and the run that gave them."""

    run: str
    predictions: list[Prediction]

    def to_pandas(self) -> pd.DataFrame:
        """One row an answer: head, relation, tail (the answer filled in), side, place, name, score, known."""
        rows: list[dict[str, Any]] = []
        for prediction in self.predictions:
            asked = prediction.question
            for answer in prediction.answers:
                rows.append(
                    {
                        "head": asked.head if asked.side == "tail" else answer.label,
                        "relation": asked.relation,
                        "tail": answer.label if asked.side == "tail" else asked.tail,
                        "side": asked.side,
                        "place": answer.place,
                        "name": answer.name,
                        "score": answer.score,
                        "known": answer.known,
                    }
                )
        columns = ["head", "relation", "tail", "side", "place", "name", "score", "known"]
        return pd.DataFrame(rows, columns=columns)

    def as_list(self) -> list[dict[str, Any]]:
        """The same as nested dictionaries, for JSON."""
        found = []
        for prediction in self.predictions:
            asked = prediction.question
            answers = [
                {"rank": a.place, "label": a.label, "name": a.name, "score": a.score, "known": a.known}
                for a in prediction.answers
            ]
            sides = {"head": asked.head, "relation": asked.relation, "tail": asked.tail, "side": asked.side}
            found.append({"query": str(asked), **sides, "answers": answers})
        return found


def predict(run: Run, questions: Sequence[Question], *, k: int = 10, new_only: bool = False) -> Predictions:
    """The `k` most plausible answers of each question, in the order of the questions.

    Args:
        new_only: leave out what any split of the graph holds.

    Memory: one chunk of questions times one block of entities. Raises `UnknownName` with the nearest name, `InputError`
    for a question that the run was not made to answer.
    """
    _check_sides(run, questions)
    check_targets(run, questions)
    graph, scorer = run.graph, run.scorer
    asked = [_ids(run, question) for question in questions]
    entity, relation = (np.array(column, dtype=np.int64) for column in zip(*asked, strict=True))
    found = top_answers(
        scorer,
        Queries(torch.from_numpy(entity), torch.from_numpy(relation)),
        k=k,
        block_rows=run.folder.config["plan"]["block_rows"],
        graph=graph,
        exclude="known" if new_only else None,
    )
    vocabulary = graph.entities
    predictions = []
    for row, question in enumerate(questions):
        answers = [
            Answer(place + 1, vocabulary.label(int(i)), vocabulary.name(int(i)), float(score), bool(known))
            for place, (i, score, known) in enumerate(
                zip(found.entity_ids[row], found.scores[row], found.known[row], strict=True)
            )
            if i >= 0
        ]
        predictions.append(Prediction(question, answers))
    return Predictions(run.folder.name, predictions)


def check_format(path: Path) -> None:
    """Raises `InputError` where the name of a file to write predictions to does not say its format."""
    if path.suffix not in (".csv", ".parquet", ".json"):
        raise InputError(f"{path}: the name should end in .csv, .parquet or .json")


def write_predictions(found: Predictions, path: Path) -> None:
    """Write them as `.csv`, `.parquet` or `.json`, as the name of the file says."""
    check_format(path)
    with new_file(path) as partial:
        if path.suffix == ".json":
            partial.write_text(
                json.dumps(found.as_list(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        elif path.suffix == ".csv":
            found.to_pandas().to_csv(partial, index=False)
        else:
            with duckdb.connect() as connection:
                connection.register("found", found.to_pandas())
                connection.table("found").write_parquet(str(partial))


def read_questions(path: Path) -> list[Question]:
    """A file of `head<TAB>relation<TAB>tail` with one side empty or `?`. Raises `InputError` naming the line."""
    questions = []
    for where, parts in tab_separated(path):
        head, relation, tail = (None if part in ("", UNKNOWN) else part for part in parts)
        if relation is None or (head is None) == (tail is None):
            raise InputError(f"{where}: expected a relation and one side, the other empty or {UNKNOWN}")
        questions.append(Question(head, relation, tail, where=where))
    if not questions:
        raise InputError(f"{path} holds no questions")
    return questions


def tab_separated(path: Path) -> Iterator[tuple[str, list[str]]]:
    """File and line, and the three fields, of every line that is not empty. Raises `InputError` naming the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where, parts = f"{path}:{number}", line.split("\t")
        if len(parts) != 3:
            raise InputError(
                f"{where}: expected head, relation, tail between tabs, found {len(parts)} fields"
            )
        yield where, parts


def _check_sides(run: Run, questions: Sequence[Question]) -> None:
    """Raises `InputError` for a question about heads to a model that has no inverse relations."""
    odd = next((q for q in questions if q.side == "head"), None)
    if run.ranking.side == "tail" and odd is not None:
        raise InputError(
            f"{f'{odd.where}: ' if odd.where else ''}{odd} asks for a head, and {run.path} was trained without inverse "
            "relations: it predicts tails alone"
        )


def check_targets(run: Run, questions: Sequence[Question]) -> None:
    """Raises `InputError` for a relation that is no target of the run, and that its counted rules do not cover either."""
    targets, relations = run.ranking.targets, run.graph.relations
    if not targets:
        return
    covered = set(relations.find_all(targets).tolist())
    if (run.path / "rules.npz").exists():
        covered |= set(load_rules(run.path).relations.tolist())
    for question in questions:
        asked = relations.find(question.relation, where=question.where)
        if asked not in covered:
            place = f"{question.where}: " if question.where else ""
            named = ", ".join(targets[:_NAMED]) + (", ..." if len(targets) > _NAMED else "")
            number = "1 target" if len(targets) == 1 else f"{len(targets)} targets"
            raise InputError(
                f"{place}relation {relations.label(asked)!r} is not among the run's {number}: {named}. Ask for one of them, "
                "or make a run that covers it."
            )


def _ids(run: Run, question: Question) -> tuple[int, int]:
    """Entity id and directed relation id."""
    graph = run.graph
    relation = np.array([graph.relations.find(question.relation, where=question.where)])
    given = question.head if question.side == "tail" else question.tail
    assert given is not None
    return graph.entities.find(given, where=question.where), int(
        directed(relation, question.side, graph.num_relations)[0]
    )
