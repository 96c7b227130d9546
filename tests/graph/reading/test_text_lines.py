"""Lines of a file in DuckDB are the lines that a plain pass finds, and wrong ones are found again by number."""

import gzip

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corollary.errors import InputError
from corollary.graph.reading.text_lines import (
    LONGEST_LINE,
    bad_lines,
    insert_columns,
    insert_rows,
    keep_rejects,
    line_numbers,
    lines_of,
)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE text (line VARCHAR)")
        yield connection


def read(connection, path, on_error="raise"):
    connection.execute("TRUNCATE text")
    bad = insert_rows(connection, path, "text", "SELECT line FROM lines", on_error=on_error)
    return [line for (line,) in connection.execute("FROM text").fetchall()], bad


_parts = st.lists(
    st.sampled_from(["a", "b", " ", "\t", '"', "\\", "#", "\x01", "\u2028", "\x85", "\n", "\r", "\r\n"]),
    max_size=14,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=_parts, packed=st.booleans())
def test_rows_are_the_lines_that_are_not_empty(connection, tmp_path, parts, packed):
    """Whatever ends the lines, mixed ends too, and whatever quotes or comments stand in them."""
    text = "".join(parts)
    path = tmp_path / "lines.txt"
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if packed else text.encode())
    plain = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert read(connection, path) == ([line for line in plain if line], [])
    assert [(n, raw.decode()) for n, raw in lines_of(path)] == [
        (i, line) for i, line in enumerate(plain, 1) if line
    ]


def test_rows_are_found_again_by_line(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"a\n\nb\r\n\nc")
    assert line_numbers(path, [1, 2]) == {1: (3, b"b"), 2: (5, b"c")}
    (bad,) = bad_lines(path, [2], lambda raw: f"odd {raw!r}")
    assert (bad.line, bad.problem, bad.text) == (5, "odd b'c'", "c")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"x\xffy", "the text is not UTF-8 (byte 0xff at byte 2 of the line)"),
        (b"x\0y", "a zero byte at byte 2 of the line"),
        (b"x" * (LONGEST_LINE + 1), "the line has 8,388,609 bytes; the longest that is read has 8,388,608"),
    ],
)
def test_a_line_that_is_no_text_is_named_or_blanked(connection, tmp_path, line, problem):
    """Skipped, it keeps its row, so that later rows are still found by number."""
    path = tmp_path / "lines.txt"
    path.write_bytes(b"a\n\n" + line + b"\nb\n")
    with pytest.raises(InputError) as error:
        read(connection, path)
    assert str(error.value).startswith(f"{path}:3: {problem}")
    rows, (bad,) = read(connection, path, on_error="skip")
    assert rows == ["a", " ", "b"]
    assert bad.line == 3
    assert bad.problem.startswith(problem)
    assert len(bad.text) <= 1000
    assert keep_rejects(connection, path, [bad]) == 1
    assert connection.execute("SELECT file, line FROM rejects").fetchall() == [(str(path), 3)]
    connection.execute("DROP TABLE rejects")


def test_columns_are_appended_as_rows(connection):
    connection.execute("CREATE OR REPLACE TABLE pairs (a BIGINT, b VARCHAR)")
    insert_columns(connection, "pairs", [1, 2], ["x", "y"])
    insert_columns(connection, "pairs", [], [])
    assert connection.execute("FROM pairs").fetchall() == [(1, "x"), (2, "y")]
