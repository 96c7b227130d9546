"""The lists: for every row its best columns, with probability, standing and evidence, as Parquet, CSV and JSON.

One line is one answer. Columns are named after the node types: for `treats` of a graph with the types Drug and Disease

    disease, disease_name, rank, drug, drug_name, probability, probability_low, probability_high, normalised_rank,
    untrained_rank, known, MARK ..., nearest_known_drug, paths, rules

`known` and marks say what the graph says of the pair; `normalised_rank` is the place when columns that are high in every
list are pushed back (`figures.flyers`), `untrained_rank` the place by counting alone. Paths and rules are text, the
weightiest first, with ` | ` between them; the JSON holds them with their parts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def column_names(pairs: Pairs) -> tuple[str, str]:
    """What rows and columns are called in the files; two types with one name get `_of` behind the row's."""
    row, column = slug(pairs.rows.type), slug(pairs.columns.type)
    return (f"{row}_of" if row == column else row), column


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


def as_table(pairs: Pairs, found: Sequence[Answer]) -> "pandas.DataFrame":
    """One line an answer."""
    row, column = column_names(pairs)
    return pandas.DataFrame(
        [
            {
                row: pairs.rows.labels[one.row],
                f"{row}_name": pairs.rows.names[one.row],
                "rank": one.rank,
                column: pairs.columns.labels[one.column],
                f"{column}_name": pairs.columns.names[one.column],
                "probability": one.probability,
                "probability_low": one.low,
                "probability_high": one.high,
                "normalised_rank": one.normalised_rank,
                "untrained_rank": one.untrained_rank,
                "known": one.known,
                **one.marks,
                f"nearest_known_{column}": one.evidence.similar_column.column
                if one.evidence.similar_column
                else None,
                "paths": " | ".join(path.text for path in one.evidence.paths),
                "rules": " | ".join(rule.sentence for rule in one.evidence.rules),
            }
            for one in found
        ]
    )


def write_lists(folder: Path, pairs: Pairs, found: Sequence[Answer]) -> None:
    """The three files, into a folder that is on its way."""
    table = as_table(pairs, found)
    table.to_csv(folder / "predictions.csv", index=False, lineterminator="\n")
    with duckdb.connect() as database:
        database.register("lists", table)
        place = str(folder / "predictions.parquet").replace("'", "''")
        database.execute(f"COPY (SELECT * FROM lists) TO '{place}' (FORMAT parquet)")
    with (folder / "predictions.json").open("w", encoding="utf-8") as file:
        json.dump(as_records(pairs, found, table), file, indent=1, ensure_ascii=False)


def as_records(pairs: Pairs, found: Sequence[Answer], table: "pandas.DataFrame") -> list[dict[str, Any]]:
    """A record for each row with its answers, evidence in parts."""
    row, _ = column_names(pairs)
    lists: dict[int, dict[str, Any]] = {}
    for one, line in zip(
        found, table.drop(columns=[row, f"{row}_name", "paths", "rules"]).to_dict("records"), strict=True
    ):
        mine = lists.setdefault(
            one.row, {row: pairs.rows.labels[one.row], "name": pairs.rows.names[one.row], "answers": []}
        )
        mine["answers"].append({**line, "evidence": one.evidence.model_dump(mode="json")})
    return list(lists.values())
