"""The lists: for every row its best columns, with probability, standing and evidence, as Parquet, CSV and JSON.

One line is one answer. Columns are named after the node types: for `treats` of a graph with the types Drug and Disease

    disease, disease_name, rank, drug, drug_name, probability, probability_low, probability_high, normalised_rank,
    untrained_rank, known, MARK ..., nearest_known_drug, paths, rules

`known` and marks say what the graph says of the pair; `normalised_rank` is the place when columns that are high in every
list are pushed back (`figures.flyers`), `untrained_rank` the place by counting alone. Paths and rules are text, the
weightiest first, with ` | ` between them; the JSON holds them with their parts, a line for each list. A type or a mark
whose name stands for something else bears another (`ListColumns`).
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pandas
from jaxtyping import Float, Int

from corollary.repurpose.calibrating import probability
from corollary.repurpose.evidence import PairEvidence, RuleShown, Witness
from corollary.repurpose.figures.flyers import rank_normalised
from corollary.repurpose.pairs import Fold, Pairs
from corollary.repurpose.rule_evidence import Place

FILES = ("predictions.parquet", "predictions.csv", "predictions.json")
_OWN = (
    "rank", "probability", "probability_low", "probability_high", "normalised_rank", "untrained_rank", "known", "paths",
    "rules", "name", "answers", "evidence",
)  # fmt: skip
"""Names in the files that no node type and no mark may bear."""


@dataclass(frozen=True)
class Answer:
    """One place in one list."""

    row: int
    column: int
    rank: int
    probability: float
    low: float
    high: float
    normalised_rank: int
    untrained_rank: int
    known: bool
    marks: dict[str, bool]
    evidence: PairEvidence


def slug(kind: str) -> str:
    """A node type as the name of a column."""
    return re.sub(r"\W+", "_", kind.strip().lower()).strip("_") or "node"


@dataclass(frozen=True)
class ListColumns:
    """What rows, columns and marks are called in the files.

    A type is called by its name, with `_node` behind where that stands for something else already, as in a graph with a
    type Rank; so is a mark, with `_mark` behind. Capitals make no difference: to many readers of tables they make none.
    """

    row: str
    column: str
    marks: dict[str, str]
    """By mark."""

    @classmethod
    def of(cls, pairs: Pairs) -> Self:
        """For the types and marks of some pairs."""
        taken = set(_OWN)
        column = _free(slug(pairs.columns.type), "_node", taken, ("{}", "{}_name", "nearest_known_{}"))
        row = _free(slug(pairs.rows.type), "_node", taken, ("{}", "{}_name"))
        return cls(row, column, {mark: _free(mark, "_mark", taken) for mark in pairs.marks})

    @property
    def types(self) -> dict[str, str]:
        """Every column of the tables in its order, with its type in SQL."""
        row, column = self.row, self.column
        return {
            **dict.fromkeys((row, f"{row}_name"), "VARCHAR"),
            "rank": "BIGINT",
            **dict.fromkeys((column, f"{column}_name"), "VARCHAR"),
            **dict.fromkeys(("probability", "probability_low", "probability_high"), "DOUBLE"),
            **dict.fromkeys(("normalised_rank", "untrained_rank"), "BIGINT"),
            **dict.fromkeys(("known", *self.marks.values()), "BOOLEAN"),
            **dict.fromkeys((f"nearest_known_{column}", "paths", "rules"), "VARCHAR"),
        }


def _free(name: str, suffix: str, taken: set[str], forms: Sequence[str] = ("{}",)) -> str:
    """A name of which no form is taken yet, with suffixes behind it until that is so; its forms are taken from then on."""
    while any(form.format(name).casefold() in taken for form in forms):
        name += suffix
    taken.update(form.format(name).casefold() for form in forms)
    return name


def answers(
    pairs: Pairs,
    fold: Fold,
    scores: Mapping[str, Float[np.ndarray, "asked columns"]],
    witness: Witness,
    rules: Mapping[Place, tuple[RuleShown, ...]],
    *,
    top: int,
    known: bool,
) -> Iterator[Answer]:
    """The best columns of every row, best first; of equal scores the column that comes first in the graph.

    Memory: 8 bytes a pair for ranks that are normalised, and the evidence of one pair.
    """
    normal = rank_normalised(scores["classifier"])
    visible = fold.visible(pairs)
    for at, row in enumerate(fold.asked.tolist()):
        here = fold.asked[at : at + 1]
        seen = pairs.mask(visible, here)[0]
        listed = np.arange(len(seen)) if known else np.flatnonzero(~seen)
        marks = {name: pairs.mask(places, here)[0] for name, places in pairs.marks.items()}
        order = listed[np.argsort(-scores["classifier"][at][listed], kind="stable")]
        places = [_places(values[at], listed) for values in (normal, scores["all three"])]
        for rank, column in enumerate(order[:top].tolist(), start=1):
            middle, spread = float(scores["classifier"][at, column]), float(scores["spread"][at, column])
            chance, low, high = probability(np.array([middle, middle - spread, middle + spread])).tolist()
            yield Answer(
                row, column, rank, chance, low, high, int(places[0][column]), int(places[1][column]), bool(seen[column]),
                {name: bool(mark[column]) for name, mark in marks.items()},
                witness.evidence(row, column, rules.get((row, column), ())),
            )  # fmt: skip


def _places(
    scores: Float[np.ndarray, " columns"], listed: Int[np.ndarray, " listed"]
) -> Int[np.ndarray, " columns"]:
    """Place of every listed column by falling score, from 1; 0 of the others."""
    found = np.zeros(len(scores), np.int64)
    found[listed[np.argsort(-np.asarray(scores)[listed], kind="stable")]] = np.arange(1, len(listed) + 1)
    return found


def write_lists(folder: Path, pairs: Pairs, found: Iterable[Answer]) -> None:
    """The three files, list by list, into a folder that is on its way.

    Args:
        found: the answers of one row after those of another.

    Memory: the answers of one row; of all of them the lines of the table, about 1 KiB each, until the Parquet file is made.
    """
    names = ListColumns.of(pairs)
    columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in names.types.items())
    with (
        (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as text,
        (folder / "predictions.json").open("w", encoding="utf-8") as records,
        duckdb.connect() as database,
    ):
        table = csv.DictWriter(text, list(names.types), lineterminator="\n")
        table.writeheader()
        database.execute(f"CREATE TABLE lists ({columns})")
        between = "[\n"
        for _, answered in groupby(found, key=lambda one: one.row):
            mine = list(answered)
            lines = [as_line(pairs, names, one) for one in mine]
            table.writerows(lines)
            database.register("one_list", pandas.DataFrame(lines))
            database.execute("INSERT INTO lists SELECT * FROM one_list")
            records.write(
                between + json.dumps(_record(names, mine, lines), ensure_ascii=False, allow_nan=False)
            )
            between = ",\n"
        records.write("\n]\n" if between == ",\n" else "[]\n")
        place = str(folder / "predictions.parquet").replace("'", "''")
        database.execute(f"COPY lists TO '{place}' (FORMAT parquet)")


def read_lists(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of predictions.json. Memory: one list."""
    with (folder / "predictions.json").open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                yield json.loads(line.rstrip(",\n"))


def as_line(pairs: Pairs, names: ListColumns, one: Answer) -> dict[str, Any]:
    """One answer as a line of the tables."""
    nearest = one.evidence.similar_column
    return {
        names.row: pairs.rows.labels[one.row],
        f"{names.row}_name": pairs.rows.names[one.row],
        "rank": one.rank,
        names.column: pairs.columns.labels[one.column],
        f"{names.column}_name": pairs.columns.names[one.column],
        "probability": one.probability,
        "probability_low": one.low,
        "probability_high": one.high,
        "normalised_rank": one.normalised_rank,
        "untrained_rank": one.untrained_rank,
        "known": one.known,
        **{names.marks[mark]: marked for mark, marked in one.marks.items()},
        f"nearest_known_{names.column}": None if nearest is None else nearest.column,
        "paths": " | ".join(path.text for path in one.evidence.paths),
        "rules": " | ".join(rule.sentence for rule in one.evidence.rules),
    }


def _record(names: ListColumns, mine: Sequence[Answer], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row with its answers, evidence in parts."""
    elsewhere = {names.row, f"{names.row}_name", "paths", "rules"}
    return {
        names.row: lines[0][names.row],
        "name": lines[0][f"{names.row}_name"],
        "answers": [
            {name: value for name, value in line.items() if name not in elsewhere}
            | {"evidence": one.evidence.model_dump(mode="json")}
            for one, line in zip(mine, lines, strict=True)
        ],
    }


def _quoted(name: str) -> str:
    """A name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'
