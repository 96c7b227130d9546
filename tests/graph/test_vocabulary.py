"""Strings on disk against a list."""

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import GraphDamaged, InputError, UnknownName
from corollary.graph import tables, vocabulary
from corollary.graph.reading.text_lines import insert_columns
from corollary.graph.tables import write_strings
from corollary.graph.vocabulary import StringTable, Vocabulary

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=20)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        yield connection


def table(connection, folder, values, name="t"):
    connection.execute("CREATE OR REPLACE TABLE texts (id BIGINT, text VARCHAR)")
    insert_columns(connection, "texts", np.arange(len(values)), values)
    write_strings(connection, "texts", "text", Path(folder), name)
    return StringTable(Path(folder), name)


@settings(deadline=None)
@given(values=TEXTS, low=st.integers(-25, 25), high=st.integers(-25, 25), step=st.sampled_from([1, 2, -1]))
def test_table_reads_like_a_list(connection, values, low, high, step):
    """Length, rows, slices and walking through; any Unicode text, the empty string, more rows than a chunk."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "_ROWS_PER_CHUNK", 7)
        patch.setattr(tables, "_ROWS", 5)
        strings = table(connection, folder, values)
        assert len(strings) == len(values)
        assert list(strings) == [strings[i] for i in range(len(values))] == values
        assert strings[low:high:step] == values[low:high:step]
        assert strings[low:] == values[low:]


@settings(deadline=None)
@given(values=TEXTS, wanted=st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
def test_search_finds_every_row(connection, values, wanted):
    """All rows that hold a text, none for a text that is not there."""
    with tempfile.TemporaryDirectory() as folder:
        strings = table(connection, folder, values)
        for text in {*values, wanted}:
            assert sorted(strings.rows_of(text)) == [row for row, value in enumerate(values) if value == text]


def test_a_row_outside_the_table_is_an_index_error(connection, tmp_path):
    """Negative rows do not count from the end: an id of -1 means "none" elsewhere."""
    strings = table(connection, tmp_path, ["a", "b"])
    for row in (2, -1):
        with pytest.raises(IndexError, match=f"row {row} of a table of 2"):
            strings[row]


@pytest.mark.parametrize("part", ["t.text", "t.offsets.npy", "t.sorted.npy"])
def test_a_truncated_table_says_so(connection, tmp_path, part):
    """What numpy cannot open is named, not shown as numpy's own error."""
    table(connection, tmp_path, ["abc", "d"])
    (tmp_path / part).write_bytes(
        (tmp_path / part).read_bytes()[:20] if part != "t.text" else b"\xff\xff\xff\xff"
    )
    with pytest.raises(GraphDamaged, match=r"t\.\* cannot be read: import the graph again"):
        list(StringTable(tmp_path, "t"))


@pytest.fixture
def known(connection, tmp_path):
    labels = table(connection, tmp_path, ["DB1", "DB2", "DB3", "Aspirin"], "labels")
    names = table(connection, tmp_path, ["aspirin", "ibuprofen", "ibuprofen", ""], "names")
    return Vocabulary("entity", labels, names)


def test_find_takes_a_label_or_a_name_that_is_alone(known):
    """Labels come first; the name of one row is as good; a row without a name is read by its label."""
    assert known.find("DB2") == 1
    assert known.find("aspirin") == 0
    assert known.find_all(["Aspirin", "DB1"]).tolist() == [3, 0]
    assert [known.name(row) for row in range(4)] == ["aspirin", "ibuprofen", "ibuprofen", "Aspirin"]
    assert known.label(1) == "DB2"
    assert len(known) == 4


def test_a_name_of_several_rows_asks_for_a_label(known):
    """The rows that bear it are listed."""
    with pytest.raises(InputError) as caught:
        known.find("ibuprofen")
    assert str(caught.value) == "'ibuprofen' names 2 entity rows: DB2, DB3. Give the label of one."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ibuprofan", "x.tsv:3: entity 'ibuprofan' is not known. Did you mean 'ibuprofen'?"),
        ("", "x.tsv:3: entity '' is not known. Known: "),
    ],
)
def test_an_unknown_name_suggests_the_nearest(known, text, message):
    """Names are suggested as well as labels; rows without a name are not taken for the empty name."""
    with pytest.raises(UnknownName) as caught:
        known.find(text, where="x.tsv:3")
    assert str(caught.value).startswith(message)
