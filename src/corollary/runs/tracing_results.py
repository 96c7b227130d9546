"""What `tracin` found: named results, and the files that hold them.

tracin_results.json     everything, one object an asked triple
.csv                    a row an influence, with the columns that the older ConvE-TracIn scripts wrote
.parquet                the same rows, with ids
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from corollary.errors import InputError
from corollary.storage import new_file, write_text

CSV_COLUMNS = (
    "TestHead", "TestHead_label", "TestRel", "TestRel_label", "TestTail", "TestTail_label",
    "TrainHead", "TrainHead_label", "TrainRel", "TrainRel_label", "TrainTail", "TrainTail_label",
    "TracInScore", "SelfInfluence",
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A triple: labels as the graph writes them, and what people read."""

    head: str
    head_name: str
    relation: str
    relation_name: str
    tail: str
    tail_name: str

    def __str__(self) -> str:
        return f"({self.head}, {self.relation}, {self.tail})"


@dataclass(frozen=True)
class Support:
    """One training triple and its influence: above zero it supports what was asked, below it opposes it."""

    triple: Named
    row: int
    """Of the training split."""
    score: float
    by_checkpoint: dict[str, float] | None = None
    """What each checkpoint adds, where that was asked for."""


@dataclass(frozen=True)
class Share:
    """Influence of all candidates of one relation, or around one entity."""

    label: str
    support: float
    """Sum of influences above zero."""
    opposition: float
    """Sum of those below."""
    share: float
    """Of all support and opposition, without signs."""


@dataclass(frozen=True)
class Traced:
    """An asked triple and what trained it."""

    triple: Named
    instead_of: str | None
    """The answer it was compared with, for a contrast."""
    self_influence: float
    """Of the asked triple on itself, as if it were a training example."""
    loss: float
    """Under the last checkpoint, both directions."""
    num_candidates: int
    support: float
    opposition: float
    """Sums of all influences above and below zero; those listed are the largest of them."""
    proponents: list[Support]
    opponents: list[Support]
    relations: list[Share]
    entities: list[Share] | None


@dataclass(frozen=True)
class TracInResult:
    """Influences on every asked triple, and how they were computed."""

    run: str
    measure: str
    target: str
    deletion: str
    checkpoints: dict[str, float]
    """Names, with learning rates."""
    block: int
    planned_bytes: int
    peak_bytes: int
    triples: list[Traced]

    def to_pandas(self) -> pd.DataFrame:
        """A row an influence, strongest support first: the asked triple, the training triple, score, self-influence."""
        return pd.DataFrame(list(self._rows()), columns=list(CSV_COLUMNS))

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for traced in self.triples:
            asked = tuple(asdict(traced.triple).values())
            for support in (*traced.proponents, *reversed(traced.opponents)):
                train = tuple(asdict(support.triple).values())
                yield (*asked, *train, support.score, traced.self_influence)

    def as_dict(self) -> dict[str, Any]:
        """The content of `tracin_results.json`; peaks of memory are left out, so that two runs give the same bytes."""
        found = {
            name: getattr(self, name)
            for name in ("run", "measure", "target", "deletion", "checkpoints", "block")
        }
        return {**found, "triples": [_traced_dict(traced) for traced in self.triples]}


@dataclass(frozen=True)
class Suspect:
    """A training triple, how much it had to be learned by heart, and how badly it is known."""

    triple: Named
    row: int
    self_influence: float
    loss: float


@dataclass(frozen=True)
class Suspects:
    """Training triples by loss or by self-influence, the largest first."""

    run: str
    checkpoints: dict[str, float]
    ordered_by: str
    triples: list[Suspect]

    def to_pandas(self) -> pd.DataFrame:
        """A row a triple: labels, row, self_influence, loss."""
        rows = [
            {**asdict(s.triple), "row": s.row, "self_influence": s.self_influence, "loss": s.loss}
            for s in self.triples
        ]
        columns = [*Named.__dataclass_fields__, "row", "self_influence", "loss"]
        return pd.DataFrame(rows, columns=columns)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def renamed(result: TracInResult, entities: Mapping[str, str], relations: Mapping[str, str]) -> TracInResult:
    """The same result with other names for people to read, by label; those that are not given stay."""

    def named(triple: Named) -> Named:
        return replace(
            triple,
            head_name=entities.get(triple.head, triple.head_name),
            relation_name=relations.get(triple.relation, triple.relation_name),
            tail_name=entities.get(triple.tail, triple.tail_name),
        )

    def support(found: list[Support]) -> list[Support]:
        return [replace(one, triple=named(one.triple)) for one in found]

    triples = [
        replace(
            t,
            triple=named(t.triple),
            proponents=support(t.proponents),
            opponents=support(t.opponents),
        )
        for t in result.triples
    ]
    return replace(result, triples=triples)


def read_names(path: Path) -> dict[str, str]:
    """Names by label from a JSON object or lines of `label<TAB>name`. Raises `InputError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if path.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
            raise InputError(f"{path}: expected an object of labels and their names")
        return found
    names = {}
    for number, line in enumerate(text.splitlines(), start=1):
        label, tab, name = line.partition("\t")
        if line.strip() and not tab:
            raise InputError(f"{path}:{number}: expected a label and a name with a tab between them")
        names[label] = name
    return names


def write_json(found: TracInResult | Suspects, path: Path) -> None:
    """Everything, as a whole file or not at all."""
    write_text(path, json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n")


def write_table(found: TracInResult | Suspects, path: Path) -> None:
    """Rows as `.csv` or `.parquet`, as the name of the file says. Raises `InputError` for another one."""
    check_table(path)
    table = found.to_pandas()
    with new_file(path) as partial:
        if path.suffix == ".csv":
            table.to_csv(partial, index=False)
            return
        with duckdb.connect() as connection:
            connection.register("found", table)
            connection.table("found").write_parquet(str(partial))


def check_table(path: Path) -> None:
    """Raises `InputError` where the name of a file does not say its format."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: the name should end in .csv or .parquet")


def _traced_dict(traced: Traced) -> dict[str, Any]:
    """In the names of the older scripts where they had one."""
    asked = traced.triple
    found: dict[str, Any] = {
        "test_head": asked.head, "test_head_label": asked.head_name,
        "test_relation": asked.relation, "test_relation_label": asked.relation_name,
        "test_tail": asked.tail, "test_tail_label": asked.tail_name,
    }  # fmt: skip
    if traced.instead_of is not None:
        found["instead_of"] = traced.instead_of
    for name in ("self_influence", "loss", "num_candidates", "support", "opposition"):
        found[name] = getattr(traced, name)
    listed = (*traced.proponents, *reversed(traced.opponents))
    found["influences"] = [_support_dict(support) for support in listed]
    found["relations"] = [asdict(share) for share in traced.relations]
    if traced.entities is not None:
        found["entities"] = [asdict(share) for share in traced.entities]
    return found


def _support_dict(support: Support) -> dict[str, Any]:
    train = support.triple
    found: dict[str, Any] = {
        "train_head": train.head, "train_head_label": train.head_name,
        "train_relation": train.relation, "train_relation_label": train.relation_name,
        "train_tail": train.tail, "train_tail_label": train.tail_name,
        "train_row": support.row, "influence": support.score,
    }  # fmt: skip
    if support.by_checkpoint is not None:
        found["by_checkpoint"] = support.by_checkpoint
    return found
