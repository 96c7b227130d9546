"""Lines of a text file in DuckDB: read fast and in parallel, named exactly when one of them is wrong.

DuckDB reads a file as rows of one column, without quoting, and splits them in SQL; that is the fast path, and it
only marks rows as bad. When it marks one, a plain pass over the file finds its line number and says what is wrong.
Rows and lines agree in this: a row is a line that is not empty, and lines end in LF, CR LF or CR.
"""

import glob
import gzip
import io
import itertools
import re
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np

from corollary.errors import InputError
from corollary.storage import readable_errors

OnError = Literal["raise", "skip"]

LONGEST_LINE = 8 << 20  # bytes; DuckDB holds one line in one buffer

_BUFFER = 16 << 20  # two a thread are held; with DuckDB's own 32 MiB an import took 60 MiB more (measured)
_BATCH = 10_000  # rejected lines held at a time
_OTHER_PACKING = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
}
_WRONG_ENCODING = (
    "the text is not UTF-8 (byte 0x{byte:02x} at byte {place} of the line): save the file as UTF-8"
)


@dataclass(frozen=True)
class BadLine:
    """One line that was left out."""

    line: int
    problem: str
    text: str


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of every line that is not empty: the slow, plain pass."""
    number = 0
    with _opened(path) as file:
        for piece in file:
            parts = re.split(rb"\r\n|\r|\n", piece)
            for part in parts if parts[-1] else parts[:-1]:
                number += 1
                body = part.removeprefix(b"\xef\xbb\xbf") if number == 1 else part
                if body:
                    yield number, body


def first_line(path: Path) -> str:
    """The first line with something on it. Raises `InputError` where the file cannot be used as text at all."""
    _check_kind(path)
    try:
        for number, raw in lines_of(path):
            if raw.strip():
                if problem := unreadable(raw):
                    raise InputError(f"{path}:{number}: {problem}")
                return raw.decode()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(_damaged(path)) from None
    raise InputError(f"{path} is empty: expected a file with at least one line")


def unreadable(raw: bytes) -> str:
    """Why DuckDB cannot take this line as text; empty where it can."""
    if len(raw) > LONGEST_LINE:
        return f"the line has {len(raw):,} bytes; the longest that is read has {LONGEST_LINE:,}"
    if (place := raw.find(b"\0")) >= 0:
        return f"a zero byte at byte {place + 1} of the line: is this a text file?"
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return _WRONG_ENCODING.format(byte=raw[error.start], place=error.start + 1)
    return ""


def insert_rows(
    connection: duckdb.DuckDBPyConnection, path: Path, table: str, select: str, *, on_error: OnError
) -> list[BadLine]:
    """Append one row a line to `table`, in the order of the file.

    Args:
        select: a SELECT that reads the relation `lines` once, whose only column is the text `line`.

    Returns:
        Lines that are no text (wrong encoding, a zero byte, endless); each still has its row, with one space as text.

    Raises `InputError` for the first such line unless `on_error` is "skip".
    """
    if not _is_plain(path):
        return _insert_readable(connection, path, table, select, on_error)
    try:
        _insert(connection, path, table, select)
    except duckdb.InvalidInputException:
        return _insert_readable(connection, path, table, select, on_error)
    except duckdb.IOException as error:
        if "GZIP" not in str(error).upper():
            raise
        raise InputError(_damaged(path)) from None
    return []


def line_numbers(path: Path, rows: Collection[int]) -> dict[int, tuple[int, bytes]]:
    """Line number and bytes of some rows (counted from 0 within the file). Reads no further than the last of them."""
    found: dict[int, tuple[int, bytes]] = {}
    last = max(rows, default=-1)
    wanted = set(rows)
    for row, (number, raw) in enumerate(lines_of(path)):
        if row > last:
            break
        if row in wanted:
            found[row] = number, raw
    return found


def bad_lines(path: Path, rows: Collection[int], diagnose: Callable[[bytes], str]) -> Iterator[BadLine]:
    """The lines behind some bad rows, each with what `diagnose` says of its bytes."""
    for number, raw in line_numbers(path, rows).values():
        yield BadLine(number, diagnose(raw), raw.decode(errors="replace"))


def keep_rejects(connection: duckdb.DuckDBPyConnection, path: Path, bad: Iterable[BadLine]) -> int:
    """Append lines that were left out to the table `rejects(file, line, problem, text)`. Returns how many."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS rejects (file VARCHAR, line BIGINT, problem VARCHAR, text VARCHAR)"
    )
    count, lines = 0, iter(bad)
    while batch := list(itertools.islice(lines, _BATCH)):
        insert_columns(
            connection,
            "rejects",
            [str(path)] * len(batch),
            [line.line for line in batch],
            [line.problem for line in batch],
            [line.text for line in batch],
        )
        count += len(batch)
    return count


def insert_columns(
    connection: duckdb.DuckDBPyConnection, table: str, *columns: Sequence[Any] | np.ndarray
) -> None:
    """Append rows given by column; much faster than one statement a row."""
    names = [f"c{i}" for i in range(len(columns))]
    arrays = {
        name: column
        if isinstance(column, np.ndarray)
        else np.array(column, dtype=np.int64 if column and isinstance(column[0], int) else object)
        for name, column in zip(names, columns, strict=True)
    }
    connection.register("columns_to_insert", arrays)
    connection.execute(f"INSERT INTO {table} SELECT {', '.join(names)} FROM columns_to_insert")
    connection.unregister("columns_to_insert")


def _insert(connection: duckdb.DuckDBPyConnection, path: Path, table: str, select: str) -> None:
    """One row a line. `nullstr` is a text that no line equals, so that no line is taken for NULL."""
    packing = "gzip" if _magic(path).startswith(b"\x1f\x8b") else "none"
    connection.execute(
        f"""INSERT INTO {table} WITH lines AS (
            SELECT line FROM read_csv(?, columns = {{'line': 'VARCHAR'}}, delim = '', quote = '', escape = '',
            comment = '', header = false, auto_detect = false, strict_mode = false, nullstr = '\x01\x02\x03',
            compression = '{packing}', max_line_size = {LONGEST_LINE}, buffer_size = {_BUFFER})
        ) {select}""",
        [glob.escape(str(path))],
    )


def _insert_readable(
    connection: duckdb.DuckDBPyConnection, path: Path, table: str, select: str, on_error: OnError
) -> list[BadLine]:
    """The slow path: through a copy with plain line ends, in which every unreadable line is a single space."""
    bad = []
    database = connection.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchone()
    beside = Path(database[0]).parent if database and database[0] else None
    with tempfile.TemporaryDirectory(prefix="corollary-", dir=beside) as folder:
        copy = Path(folder) / "lines.txt"
        with readable_errors(copy), copy.open("wb") as file:
            for number, raw in lines_of(path):
                if problem := unreadable(raw):
                    if on_error == "raise":
                        raise InputError(f"{path}:{number}: {problem}")
                    bad.append(BadLine(number, problem, raw[:1000].decode(errors="replace")))
                file.write(b" \n" if problem else raw + b"\n")
        try:
            _insert(connection, copy, table, select)
        except duckdb.InvalidInputException as error:
            raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return bad


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file in it")
    if not path.exists():
        raise InputError(f"{path} does not exist: check the name")
    start = _magic(path)
    for magic, what in _OTHER_PACKING.items():
        if start.startswith(magic):
            raise InputError(f"{path} is {what}: unpack it, or pack it with gzip")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is UTF-16 text: save it as UTF-8")


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _opened(path: Path) -> io.BufferedIOBase:
    packed = _magic(path).startswith(b"\x1f\x8b")
    return gzip.open(path, "rb") if packed else path.open("rb")


def _is_plain(path: Path) -> bool:
    """Whether DuckDB reads this file right: no zero byte, one kind of line end, and that not a lone CR.

    It ends a line at a zero byte and drops the rest in silence, and where CR is mixed in it can lose the first
    letters of a line (duckdb 2.0), so both are looked for beforehand (measured: 0.1 s for 64 MB of gzip text).
    """
    returns, pairs, feeds, carry = 0, 0, 0, b""
    try:
        with _opened(path) as file:
            while piece := carry + file.read(1 << 20):
                if piece == carry:
                    returns += 1
                    break
                if b"\0" in piece:
                    return False
                carry = b"\r" if piece.endswith(b"\r") else b""
                piece = piece.removesuffix(b"\r")
                returns += piece.count(b"\r")
                pairs += piece.count(b"\r\n")
                feeds += piece.count(b"\n")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(_damaged(path)) from None
    return returns == 0 or returns == pairs == feeds


def _damaged(path: Path) -> str:
    return f"{path}: the gzip data is damaged or ends too early: fetch the file again"
