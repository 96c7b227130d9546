"""Embeddings of a run in files that other programs read: NumPy, Parquet, word2vec text.

Rows go from the model to the disk in blocks, with their labels: no list of all rows ever exists.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from jaxtyping import Float
from torch import Tensor

from corollary.budget import MIB
from corollary.errors import ConfigError, InputError, StorageError, unknown
from corollary.graph.folder import Graph
from corollary.learners.hgt.model import Hgt
from corollary.messages import Say, silent
from corollary.runs.run import Run
from corollary.storage import new_file, new_folder

FORMATS = ("npy", "parquet", "word2vec")
WHAT = ("entities", "relations", "all")
INVERSE = "inverse of "
"""Before the label of a relation: its direction from tail to head, by which heads are asked for."""
_DATABASE_BYTES = 128 * MIB
_GROUP_BYTES = 8 * MIB
_BLOCK = 4096
_COLUMNS = ("label", "name", "type")


@dataclass(frozen=True)
class Exported:
    """What was written where."""

    path: Path
    rows: dict[str, int]
    """Rows of each table, `entities` and `relations`."""
    dim: int


@dataclass(frozen=True)
class _Rows:
    """One table of embeddings with what its rows are called."""

    kind: str
    dim: int
    fetch: Callable[[slice], Tensor]
    """Consecutive rows."""
    cuts: Sequence[slice]
    """Which rows to fetch at once."""
    labels: Sequence[str]
    names: Sequence[str]
    types: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator[tuple[slice, Float[np.ndarray, "rows dim"]]]:
        """Consecutive rows, in float32 on the CPU."""
        for rows in self.cuts:
            yield rows, self.fetch(rows).detach().float().cpu().numpy()


def export(
    run: Run,
    path: str | Path,
    *,
    format: str = "npy",
    what: str = "entities",
    say: Say = silent,
) -> Exported:
    """Write the embeddings of a run; `Run.open(..., checkpoint=...)` says of which checkpoint.

    - `npy`: a folder with `entities.npy` (float32, one row an entity) and `entities.tsv` (id, label, name, type, with a
      header), the same for `relations`.
    - `parquet`: one file with label, name, type and `embedding` (FLOAT[dim]); with `what="all"` a folder of two.
    - `word2vec`: text as gensim reads it, "rows dim" and then label and numbers a line. Labels cannot hold white space
      there: it becomes "_", which is said.

    Relations come in both directions, `inverse of LABEL` being the one that asks for heads. Raises `InputError` where
    two labels would become one in word2vec text, `StorageError` where `path` exists (a folder) or cannot be written.

    Memory: the model and one block of its rows; for Parquet 200 MiB more (measured at 0.5 and 1 million rows of 200).
    """
    path = Path(path)
    for name, value, choices in (("format", format, FORMATS), ("what", what, WHAT)):
        if value not in choices:
            raise ConfigError(unknown(name, value, list(choices)))
    tables = [table for table in _tables(run) if what in ("all", table.kind)]
    if format == "npy":
        with new_folder(path) as folder:
            for table in tables:
                _write_npy(table, folder)
    elif len(tables) == 1:
        with new_file(path) as partial:
            _write(tables[0], partial, format, say)
    else:
        suffix = {"parquet": "parquet", "word2vec": "txt"}[format]
        with new_folder(path) as folder:
            for table in tables:
                _write(table, folder / f"{table.kind}.{suffix}", format, say)
    return Exported(path, {table.kind: len(table) for table in tables}, tables[0].dim)


def _tables(run: Run) -> list[_Rows]:
    if isinstance(run.scorer, Hgt):
        return [entity_rows(run.graph, run.scorer.embeddings())]
    model, graph = run.model, run.graph
    entities = graph.entities
    relations = list(graph.relations.labels)
    if run.config.model.sides == "both":
        relations += [INVERSE + label for label in relations]
    assert entities.names is not None
    blank = [""] * len(relations)
    table, dim = model.entities, model.config.embedding_dim
    return [
        _Rows(
            "entities",
            dim,
            lambda rows: table.block(rows)[0],
            table.block_slices(),
            entities.labels,
            entities.names,
            _Types(graph),
        ),
        _Rows(
            "relations",
            dim,
            lambda rows: model.relations[rows],
            [slice(0, len(relations))],
            relations,
            blank,
            blank,
        ),
    ]


def entity_rows(graph: Graph, embeddings: Tensor) -> _Rows:
    """Embeddings of all entities, in the order of ids."""
    count, entities = len(embeddings), graph.entities
    assert entities.names is not None
    cuts = [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    dim = embeddings.shape[1]
    return _Rows(
        "entities", dim, lambda rows: embeddings[rows], cuts, entities.labels, entities.names, _Types(graph)
    )


class _Types(Sequence[str]):
    """The type of every entity, empty where it has none."""

    def __init__(self, graph: Graph) -> None:
        self._codes, self._names = graph.types, [*graph.info.node_types, ""]
        self._count = graph.num_entities

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row):  # type: ignore[no-untyped-def]
        if isinstance(row, slice):
            count = len(range(*row.indices(self._count)))
            return [""] * count if self._codes is None else [self._names[code] for code in self._codes[row]]
        return "" if self._codes is None else self._names[self._codes[row]]


def _write(table: _Rows, path: Path, format: str, say: Say) -> None:
    if format == "parquet":
        write_parquet(table, path)
    else:
        _write_word2vec(table, path, say)


def _write_npy(table: _Rows, folder: Path) -> None:
    """Rows behind the header of a `.npy` file, and their labels as a table of text."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(table), table.dim)}
    with (
        (folder / f"{table.kind}.npy").open("wb") as values,
        (folder / f"{table.kind}.tsv").open("w", encoding="utf-8", newline="\n") as text,
    ):
        np.lib.format.write_array_header_1_0(values, header)
        text.write("\t".join(("id", *_COLUMNS)) + "\n")
        for rows, block in table.blocks():
            values.write(block.astype("<f4", order="C").tobytes())
            columns = (table.labels[rows], table.names[rows], table.types[rows])
            for row, fields in enumerate(zip(*columns, strict=True), start=rows.start):
                text.write("\t".join((str(row), *map(_plain, fields))) + "\n")


def _plain(field: str) -> str:
    """Text that cannot break a line of a table."""
    return " ".join(field.split("\t")).replace("\n", " ").replace("\r", " ")


def write_parquet(table: _Rows, path: Path) -> None:
    """Each block becomes a file in a hidden folder beside `path`; then they are joined, again block by block."""
    dim = table.dim
    vector = f"array_value({', '.join(f'v{column}' for column in range(dim))})::FLOAT[{dim}]"
    folder = path.with_name(f"{path.name}-blocks")
    folder.mkdir()
    try:
        with duckdb.connect() as database:
            database.execute(f"SET memory_limit = '{_DATABASE_BYTES} B'")
            for number, (rows, block) in enumerate(table.blocks()):
                texts = (table.labels[rows], table.names[rows], table.types[rows])
                columns = {f"v{column}": np.ascontiguousarray(block[:, column]) for column in range(dim)}
                columns |= {
                    name: np.array(list(text), dtype=object)
                    for name, text in zip(_COLUMNS, texts, strict=True)
                }
                database.register("block", columns)
                _copy(
                    database,
                    f"SELECT label, name, type, {vector} AS embedding FROM block",
                    folder / f"{number:09d}.parquet",
                )
                database.unregister("block")
            group = max(2048, _GROUP_BYTES // (4 * dim) // 2048 * 2048)
            files = ", ".join(f"'{_quoted(file)}'" for file in sorted(folder.iterdir()))
            _copy(database, f"SELECT * FROM read_parquet([{files}])", path, f", ROW_GROUP_SIZE {group}")
    except duckdb.OutOfMemoryException as error:
        raise StorageError(f"{path} was not written: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(database: duckdb.DuckDBPyConnection, query: str, path: Path, options: str = "") -> None:
    database.execute(f"COPY ({query}) TO '{_quoted(path)}' (FORMAT parquet{options})")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _write_word2vec(table: _Rows, path: Path, say: Say) -> None:
    """gensim's text format: it cuts lines at white space, so labels must not hold any."""
    if changed := _check_words(table):
        say(
            f"{changed:,} labels of {table.kind} hold white space, which word2vec text cannot: written as '_'"
        )
    dim = table.dim
    numbers = " ".join(["%.9g"] * dim)  # nine digits give back every float32
    with path.open("w", encoding="utf-8", newline="\n") as text:
        text.write(f"{len(table)} {dim}\n")
        for rows, block in table.blocks():
            text.writelines(
                f"{_word(label)} {numbers % tuple(row)}\n"
                for label, row in zip(table.labels[rows], block.tolist(), strict=True)
            )


def _word(label: str) -> str:
    return re.sub(r"\s", "_", label)


def _check_words(table: _Rows) -> int:
    """How many labels hold white space. Raises `InputError` where two labels would be written alike.

    Memory: the labels that hold white space.
    """
    changed: dict[str, str] = {}
    for label in table.labels:
        word = _word(label)
        if word != label and changed.setdefault(word, label) != label:
            raise _alike(changed[word], label, word)
    if changed:
        for label in table.labels:
            if label in changed:
                raise _alike(changed[label], label, label)
    return len(changed)


def _alike(first: str, second: str, word: str) -> InputError:
    return InputError(
        f"word2vec text cannot hold white space, and {first!r} and {second!r} would both be {word!r}: use --format npy or "
        "--format parquet"
    )
