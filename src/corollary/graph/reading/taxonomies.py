"""Files of taxonomies as nodes with links: child-parent tables, OBO, lists of is_a, NCBI's dump, pickled pairs.

Every reader gives the same `Nodes`; what is wrong is named by file and line.
"""

import csv
import io
import pickle
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from corollary.errors import InputError

_CHILD = ("child", "id", "taxid", "tax_id", "taxonid", "node", "descendant", "term", "subject")
_PARENT = (
    "parent",
    "parent_id",
    "parentid",
    "parent_taxid",
    "parent_tax_id",
    "parentnameusageid",
    "ancestor",
    "is_a",
    "object",
)
_RANK = ("rank", "taxonrank", "type", "category")
_NAME = ("name", "label", "scientific_name", "scientificname")
_IS_A = {"is_a", "is a", "isa", "subclassof", "rdfs:subclassof"}


@dataclass
class Nodes:
    """A taxonomy by label. A link to itself or to nothing marks a root; `described` nodes have a row of their own."""

    links: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, str] = field(default_factory=dict)
    described: set[str] = field(default_factory=set)
    """Nodes with a row as a child; empty where the file has links alone, so that a root has no row."""
    merged: dict[str, str] = field(default_factory=dict)
    """Old labels, and those that replace them."""
    loops: dict[str, str] = field(default_factory=dict)
    """Nodes with a link to themselves, and where it stands."""
    read_as: str = ""

    def add(self, child: str, parent: str, *, where: str) -> None:
        """One row; `where` in which file and line it stands."""
        self.described.add(child)
        if parent == child:
            self.loops.setdefault(child, where)
        elif parent:
            self.links.append((child, parent))

    def refuse_loops(self) -> None:
        """Raises `InputError` for a node that is its own parent and has another one: it is no root."""
        wrong = next((child for child, _ in self.links if child in self.loops), None)
        if wrong is not None:
            raise InputError(
                f"{self.loops[wrong]}: {wrong!r} is its own parent and has another one too: remove the link to itself"
            )


@contextmanager
def opened(path: Path) -> Iterator[io.TextIOWrapper]:
    """A plain, gzip or zstd file as text. Raises `InputError` where it is not UTF-8 or cut short."""
    import gzip

    import zstandard

    try:
        with path.open("rb") as raw:
            start = raw.read(4)
            raw.seek(0)
            stream: Any = raw
            if start[:2] == b"\x1f\x8b":
                stream = gzip.GzipFile(fileobj=raw)
            elif start == b"\x28\xb5\x2f\xfd":
                stream = zstandard.ZstdDecompressor().stream_reader(raw)
            yield io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", newline="")
    except (EOFError, gzip.BadGzipFile, zstandard.ZstdError):
        raise InputError(f"{path} is cut short or damaged: get it again") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): convert it to UTF-8") from None


def read_table(path: Path) -> Nodes:
    """A table with a header (child, parent, and rank and name where it has them), or links without one.

    Columns are separated by tabs, else by commas, else by spaces. An empty parent, or the node itself, marks a root.

    Raises `InputError` for a header without a parent, a row of another width, an empty child, a node described twice
    with different names or ranks, an empty file.
    """
    if path.suffix == ".parquet":
        return _from_rows(path, *_parquet(path))
    with opened(path) as file:
        first = file.readline()
        if not first.strip():
            raise InputError(f"{path} is empty: expected rows of child and parent")
        delimiter = "\t" if "\t" in first else "," if "," in first else None
        return _from_rows(path, _split(first, delimiter), _rows(file, delimiter))


def _rows(file: io.TextIOWrapper, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields. Quotes have a meaning in comma-separated files alone."""
    if delimiter == ",":
        reader = csv.reader(file)
        for row in reader:
            if row:
                yield reader.line_num + 1, row
        return
    for number, line in enumerate(file, start=2):
        if line.strip():
            yield number, _split(line, delimiter)


def _split(line: str, delimiter: str | None) -> list[str]:
    line = line.rstrip("\r\n")
    if delimiter == ",":
        return next(csv.reader([line]))
    return line.split(delimiter) if delimiter else line.split()


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    import duckdb

    try:
        with duckdb.connect() as connection:
            found = connection.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
            header = [column[0] for column in found.description]
            rows = found.fetchall()
    except duckdb.Error as error:
        raise InputError(
            f"{path} is not a Parquet file that can be read: {str(error).splitlines()[0]}"
        ) from None
    return header, ((number, [value or "" for value in row]) for number, row in enumerate(rows, start=1))


def _from_rows(path: Path, first: list[str], rows: Iterable[tuple[int, list[str]]]) -> Nodes:
    lower = [text.strip().lower().lstrip("#") for text in first]
    child, parent = _column(lower, _CHILD), _column(lower, _PARENT)
    nodes = Nodes()
    links = len(lower) == 3 and lower[1] in _IS_A
    if links or (child is None and parent is None and not {"rank", "name"} & set(lower)):
        return _plain_links(path, nodes, [(1, first), *rows] if first else list(rows))
    if child is None or parent is None:
        missing, names = ("parent", "parent") if parent is None else ("child", "child or id")
        raise InputError(f"{path}:1: no column for the {missing} among {', '.join(first)}: name it {names}")
    rank, name = _column(lower, _RANK), _column(lower, _NAME)
    for number, row in rows:
        if len(row) != len(first):
            raise InputError(f"{path}:{number}: {len(row)} columns where the header has {len(first)}")
        label = row[child].strip()
        if not label:
            raise InputError(f"{path}:{number}: the {first[child]} is empty")
        for table, column in ((nodes.names, name), (nodes.ranks, rank)):
            given = row[column] if column is not None else ""
            if given and table.setdefault(label, given) != given:
                raise InputError(
                    f"{path}:{number}: {label!r} was {table[label]!r} before and is {given!r} here: ids must be "
                    "unique (names may repeat)"
                )
        nodes.add(label, row[parent].strip(), where=f"{path}:{number}")
    used = [first[at] for at in (child, parent, rank, name) if at is not None]
    nodes.read_as = f"taxonomy table with {', '.join(used)}"
    if not nodes.described:
        raise InputError(f"{path} has a header and no row: expected rows of child and parent")
    _whole_numbers(nodes)
    if nodes.described <= {child for child, _ in nodes.links}:
        nodes.described.clear()  # no root has a row of its own, as in a list of links
    return nodes


def _whole_numbers(nodes: Nodes) -> None:
    """Parents written 7.0 that are 7: a column of whole numbers with a gap at the root is one of fractions to pandas."""
    if any(parent not in nodes.described and parent.endswith(".0") for _, parent in nodes.links):
        nodes.links = [
            (child, parent[:-2] if parent.endswith(".0") and parent[:-2] in nodes.described else parent)
            for child, parent in nodes.links
        ]


def _plain_links(path: Path, nodes: Nodes, rows: list[tuple[int, list[str]]]) -> Nodes:
    """Child and parent on each line, with is_a between them or not."""
    for number, row in rows:
        fields = [text.strip() for text in row]
        if len(fields) == 3 and fields[1].lower() in _IS_A:
            fields = [fields[0], fields[2]]
        if len(fields) != 2 or not all(fields):
            raise InputError(
                f"{path}:{number}: expected child and parent (or child, is_a, parent), found {len(fields)} columns; a table "
                "needs a header with child and parent"
            )
        nodes.add(*fields, where=f"{path}:{number}")
    nodes.described.clear()
    nodes.read_as = "links from child to parent"
    return nodes


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def read_obo(path: Path) -> Nodes:
    """Terms of an OBO file: id, name, is_a; obsolete terms are left out."""
    nodes = Nodes(read_as="OBO terms with is_a")
    with opened(path) as file:
        block: dict[str, list[str]] | None = None
        begun = 0
        for number, line in enumerate([*file, "[End]"], start=1):
            text = line.split(" ! ")[0].strip()
            if text.startswith("["):
                _add_term(nodes, block, where=f"{path}:{begun}")
                block, begun = {} if text == "[Term]" else None, number
            elif block is not None and ": " in text:
                key, value = text.split(": ", 1)
                block.setdefault(key, []).append(re.sub(r"\s*\{.*\}$", "", value))
    if not nodes.described:
        raise InputError(f"{path} has no [Term]: is it an OBO file?")
    return nodes


def _add_term(nodes: Nodes, block: dict[str, list[str]] | None, *, where: str) -> None:
    if block is None or block.get("is_obsolete") == ["true"]:
        return
    if "id" not in block:
        raise InputError(f"{where}: this [Term] has no id")
    label = block["id"][0]
    if label in nodes.described:
        raise InputError(f"{where}: term {label!r} stands there twice: ids must be unique")
    nodes.names[label] = block.get("name", [""])[0]
    nodes.ranks[label] = block.get("namespace", [""])[0]
    for parent in block.get("is_a", [""]):
        nodes.add(label, parent, where=where)
    nodes.merged |= dict.fromkeys(block.get("alt_id", []), label)


class _Refused(Exception):
    """A pickle asks for something that could run."""


def _latin1(text: str, encoding: str) -> bytes:
    """How old protocols write bytes; in place of `_codecs.encode`, which knows other encodings too."""
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


class _Pairs(pickle.Unpickler):
    """Admits arrays, numbers, strings, lists, tuples and dicts: whatever else a pickle asks for is refused."""

    _ARRAYS = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy.core.numeric", "_frombuffer"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """Only what makes arrays."""
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) not in self._ARRAYS:
            raise _Refused(f"{module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path) -> Nodes:
    """A pickled list or array of (child, parent); nothing in it is run. Raises `InputError` for any other content."""
    try:
        with path.open("rb") as file:
            found = _Pairs(file).load()
    except _Refused as error:
        raise InputError(
            f"{path} asks for {error}, which is not opened: a pickle may run code. Save pairs of labels as a text file"
        ) from None
    except Exception as error:
        raise InputError(f"{path} is not a pickle of pairs: {error}") from None
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list | np.ndarray)]
        found = lists[0] if len(lists) == 1 else found
    nodes = Nodes(read_as="pickled pairs of child and parent")
    try:
        for number, (child, parent) in enumerate(map(_sequence, _sequence(found)), start=1):
            nodes.add(_plain(child), _plain(parent), where=f"{path}, pair {number}")
    except (TypeError, ValueError):
        raise InputError(f"{path} is not a list of pairs (child, parent)") from None
    nodes.described.clear()
    return nodes


def _sequence(value: Any) -> Any:
    """Raises `TypeError` for what has no order, such as a set."""
    if not isinstance(value, list | tuple | np.ndarray):
        raise TypeError
    return value


def _plain(value: Any) -> str:
    if not isinstance(value, str | int | np.integer | np.str_):
        raise TypeError
    return str(value)
