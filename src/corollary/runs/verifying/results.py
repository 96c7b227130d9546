"""What `verify` found: named results, as tables and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from corollary.explain.datamodelling import Ceiling, Estimate
from corollary.runs.tracing.files import check_table
from corollary.runs.tracing.results import Named
from corollary.storage import new_file, write_text


@dataclass(frozen=True)
class DeletionRow:
    """One way of choosing triples to take out of training, and what the retrained models make of the targets."""

    removed_by: str
    """A measure; `shared`, the heuristic; or a control: nothing, random, random neighbours."""
    k: int
    """Triples chosen for each target."""
    removed: float
    """Triples taken out, each once, mean over seeds."""
    spared: float
    """Chosen triples that were left in, since they were the last of an entity; mean over seeds."""
    mrr: Estimate
    hits_at_1: Estimate
    change: Estimate | None
    """Of MRR from the row `nothing`, paired by seed; below zero: the deletion hurt the targets."""
    beyond: dict[str, Estimate]
    """The difference in MRR to each other way for the same k, paired by seed."""
    clear: bool | None
    """Is MRR below every control's by more than the interval of the difference? None for the controls themselves."""
    mrr_by_seed: list[float]
    mrr_by_target: list[float]
    """Mean over seeds."""


@dataclass(frozen=True)
class Deletion:
    """Retraining without the triples that a score calls most supportive."""

    at_once: bool
    """The triples of all targets leave together; otherwise those of one target at a time."""
    before: dict[str, float]
    """MRR and H@1 of the targets under the run itself."""
    rows: list[DeletionRow]

    def row(self, removed_by: str, k: int) -> DeletionRow:
        """By name and number."""
        return next(row for row in self.rows if (row.removed_by, row.k) == (removed_by, k))

    def to_pandas(self) -> pd.DataFrame:
        """A row a way of choosing and k."""
        return pd.DataFrame([_flat(row) for row in self.rows])


@dataclass(frozen=True)
class DatamodelRow:
    """Agreement of one score with retraining on halves."""

    score: str
    lds: Estimate
    beyond_shared: Estimate | None
    """How much higher it is than the heuristic's."""


@dataclass(frozen=True)
class Datamodel:
    """Linear-datamodelling scores."""

    subsets: int
    retrainings: int
    """Of each subset."""
    ceiling: Ceiling | None
    rows: list[DatamodelRow]

    def row(self, score: str) -> DatamodelRow:
        """By name."""
        return next(row for row in self.rows if row.score == score)

    def to_pandas(self) -> pd.DataFrame:
        """A row a score."""
        return pd.DataFrame([_flat(row) for row in self.rows])


@dataclass(frozen=True)
class PlantedRow:
    """How well one figure of training triples finds the planted ones."""

    score: str
    area_under_curve: Estimate
    recall: dict[str, float]
    """By share of the triples that is inspected; mean over seeds."""
    area_by_seed: list[float]


@dataclass(frozen=True)
class Planted:
    """Wrong triples planted among the training triples, and found again."""

    share: float
    wrong: int
    best: str
    """The score that found most."""
    rows: list[PlantedRow]

    def row(self, score: str) -> PlantedRow:
        """By name."""
        return next(row for row in self.rows if row.score == score)

    def to_pandas(self) -> pd.DataFrame:
        """A row a score."""
        return pd.DataFrame([_flat(row) for row in self.rows])


@dataclass(frozen=True)
class TruthRow:
    """Where one score ranks the true edges among all training triples."""

    score: str
    mrr: Estimate
    """Of the first true edge, mean over targets."""
    mean_average_precision: Estimate


@dataclass(frozen=True)
class Truth:
    """Influence rankings against a given list of true edges."""

    file: str
    targets: int
    edges: float
    """Of each target, in the mean."""
    left_out: list[str]
    """Lines of the file that name no training triple, and why."""
    rows: list[TruthRow]

    def row(self, score: str) -> TruthRow:
        """By name."""
        return next(row for row in self.rows if row.score == score)

    def to_pandas(self) -> pd.DataFrame:
        """A row a score."""
        return pd.DataFrame([_flat(row) for row in self.rows])


@dataclass(frozen=True)
class Verification:
    """How far influence foretells what retraining does."""

    run: str
    graph: str
    graph_fingerprint: str
    options: dict[str, Any]
    ensemble: list[str]
    """Other runs over which influence is averaged."""
    model: dict[str, Any]
    """The configuration that everything was retrained with."""
    seeds: list[int]
    """Of the retrainings with nothing, or something, taken out."""
    targets: list[Named]
    sides: list[str]
    deletion: Deletion | None
    one_at_a_time: Deletion | None
    datamodel: Datamodel | None
    planted: Planted | None
    truth: Truth | None

    def studies(self) -> dict[str, Deletion | Datamodel | Planted | Truth]:
        """Those that were made, by name."""
        names = ("deletion", "one_at_a_time", "datamodel", "planted", "truth")
        return {name: found for name in names if (found := getattr(self, name)) is not None}

    def to_pandas(self) -> pd.DataFrame:
        """The tables of all studies below each other, the study's name in front."""
        return pd.concat(
            [found.to_pandas().assign(study=name) for name, found in self.studies().items()],
            ignore_index=True,
        ).pipe(lambda table: table[["study", *(column for column in table if column != "study")]])

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def write_verification(found: Verification, path: Path) -> None:
    """Everything, as a whole file or not at all."""
    write_text(path, json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n")


def write_verification_table(found: Verification, path: Path) -> None:
    """`to_pandas` as `.csv` or `.parquet`, as the name of the file says. Raises `InputError` for another one."""
    check_table(path)
    table = found.to_pandas()
    with new_file(path) as partial:
        if path.suffix == ".csv":
            table.to_csv(partial, index=False)
            return
        with duckdb.connect() as connection:
            connection.register("found", table)
            connection.table("found").write_parquet(str(partial))


def _flat(row: Any) -> dict[str, Any]:
    """Estimates as three columns, dictionaries as a column a key; lists are left to the JSON."""
    return dict(_columns("", row))


def _columns(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    fields = (
        value.items()
        if isinstance(value, dict)
        else ((n, getattr(value, n)) for n in value.__dataclass_fields__)
    )
    for name, part in fields:
        key = f"{prefix}{name}"
        if isinstance(part, Estimate):
            yield from ((key, part.value), (f"{key}_low", part.low), (f"{key}_high", part.high))
        elif isinstance(part, dict):
            yield from _columns(f"{key} ", part)
        elif not isinstance(part, list):
            yield key, part
