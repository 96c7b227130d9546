"""Tables of labels: read like the slow, obvious version, or refused by file and line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import ConfigError, InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.layouts import Layout, node_layout, triple_layout
from corollary.graph.reading.readers import Reading, read_nodes, read_table, read_triples
from corollary.graph.reading.staging import Staging
from tests.reference import reading as reference

TRIPLE = ("head", "relation", "tail")


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A database that all tests of this file share; bad lines stop."""
    folder = tmp_path_factory.mktemp("staging")
    with Staging(folder, None) as staging:
        yield Reading(staging, Unpacked(staging.folder / "unpacked"), "raise", lambda message: None)


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(reading: Reading, path: Path, layout: Layout) -> list[tuple[str, ...]]:
    read_table(reading, path, layout)
    rows = reading.connection.execute("SELECT * EXCLUDE position FROM incoming ORDER BY position").fetchall()
    return [tuple(row) for row in rows]


NAMES = st.sampled_from(
    ["a", "b", "é", " s ", "NULL", "1", "#", '"a"', '"x,y"', '"q""r"', '""', "a\\", "\u2028", "\x85"]
).map(str.encode)
PIECES = st.sampled_from(
    [
        *b'a b \t \t , , " \n \r\n \r \xc3\xa9 \xff \xc3 \0 \x0b \xef\xbb\xbf \xf4\x8f\xbf\xbf NULL \x01\x02\x03'.split(
            b" "
        ),
        b" ",
    ]
)


@st.composite
def nearly_right(draw: st.DrawFn, delimiter: bytes) -> bytes:
    """Files of triples, most of them as they should be, some with one piece too many."""
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    widths = draw(st.lists(st.sampled_from([3] * 20 + [2]), min_size=1, max_size=8))
    lines = [delimiter.join(draw(st.lists(NAMES, min_size=n, max_size=n))) for n in widths]
    data = end.join(lines) + draw(st.sampled_from([b"", end, end * 3]))
    place = draw(st.integers(0, len(data)))
    return (
        draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
        + data[:place]
        + draw(st.just(b"") | PIECES)
        + data[place:]
    )


@given(delimiter=st.sampled_from("\t,"), header=st.booleans(), quotes=st.booleans(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_any_bytes_are_read_as_by_the_reference_or_refused(
    reading, tmp_path_factory, delimiter, header, quotes, data
):
    """Byte order marks, line ends of three kinds, quotes, broken UTF-8, zero bytes: the same rows, or an InputError."""
    anything = st.lists(PIECES, max_size=25).map(b"".join)
    content = data.draw(anything | nearly_right(delimiter.encode()))
    path = write(tmp_path_factory.getbasetemp() / "any.txt", content)
    quotes = quotes and delimiter == ","
    layout = Layout(delimiter, TRIPLE, header=header, quotes=quotes)
    try:
        expected = reference.rows(content, delimiter, 3, quotes=quotes, header=header)
    except ValueError:
        with pytest.raises(InputError, match=r"any.txt"):
            read(reading, path, layout)
    else:
        assert read(reading, path, layout) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.txt", "a\tr\tb\n", "tab-separated, no header, columns head relation tail"),
        ("t.txt", "a, b\tr\tc, d, e\n", "tab-separated, no header, columns head relation tail"),
        ("t.csv", "a,r,b\n", "comma-separated, no header, columns head relation tail"),
        ("t.txt", "0 1 0\n", "space-separated, no header, columns head relation tail"),
        ("t.csv", "a;r;b\n", "semicolon-separated, no header, columns head relation tail"),
        ("t.csv", '"a,b",r,"c,d"\n', "comma-separated, no header, columns head relation tail"),
        (
            "t.tsv",
            "source\tmetaedge\ttarget\na\tr\tb\n",
            "tab-separated, a header, columns head relation tail",
        ),
        ("t.tsv", "Tail\tWeight\tRelation\tHead\n", "tab-separated, a header, columns tail - relation head"),
        (
            "t.txt",
            "2\n0 1 0\n1 0 0\n",
            "space-separated, a count on line 1, no header, columns head tail relation",
        ),
    ],
)
def test_the_layout_of_triples_is_found_out(tmp_path: Path, name, text, expected):
    """From the first lines; what is said of it is what is recorded."""
    assert str(triple_layout(write(tmp_path / name, text))) == expected


@pytest.mark.parametrize(
    ("text", "options", "columns", "header"),
    [
        ("a\tb\tr\t1\n", {"columns": "head,tail,relation,-"}, ("head", "tail", "relation", "-"), False),
        (
            "a\tb\tr\tdb\n",
            {"columns": "head,tail,relation,source"},
            ("head", "tail", "relation", "source"),
            False,
        ),
        ("drug\teffect\tdisease\n", {"columns": "drug,effect,disease"}, TRIPLE, True),
        (
            "disease\tx\tdrug\teffect\n",
            {"columns": "drug,effect,disease"},
            ("tail", "-", "head", "relation"),
            True,
        ),
        ("head\trelation\ttail\n", {"header": False}, TRIPLE, False),
        ("x\ty\tz\n", {"header": True, "columns": "head,relation,tail"}, TRIPLE, True),
        ("tail\trelation\thead\n", {"columns": "head,relation,tail"}, ("tail", "relation", "head"), True),
        ("a|r|b\n", {"delimiter": "|"}, TRIPLE, False),
        ("5\tr\tb\n", {"delimiter": "tab"}, TRIPLE, False),
    ],
)
def test_the_user_overrules_the_layout(tmp_path: Path, text, options, columns, header):
    """Columns by position or by the header's names; header or none; any delimiter."""
    layout = triple_layout(write(tmp_path / "t.txt", text), **options)
    assert (layout.columns, layout.header) == (columns, header)


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("a\tr\tb\tc\n", {}, InputError, r"t.txt:1: found 4 columns .* --columns head,relation,tail,-$"),
        ("x\ty\tz\n", {"header": True}, InputError, r"the header 'x y z' does not say .* --columns x,y,z$"),
        ("x\ty\tz\n", {"columns": "x,y,zz"}, ConfigError, r"column 'zz' is not known. Did you mean 'z'"),
        (
            "x\ty\tz\n",
            {"columns": "hed,relation,tail"},
            ConfigError,
            r"column 'hed' .* Did you mean 'head'\?",
        ),
        ("x\ty\tz\n", {"columns": "x,y"}, ConfigError, r"--columns x,y: expected the three columns"),
        (
            "x\ty\tz\n",
            {"columns": "head,head,tail"},
            ConfigError,
            r"expected head, relation and tail once each",
        ),
        ("x\ty\tz\n", {"delimiter": "||"}, ConfigError, r"--delimiter '\|\|': expected tab, comma"),
        ("\n  \n", {}, InputError, r"t.txt is empty: expected at least one line"),
        (
            "a\tr\tb\n".encode("utf-16"),
            {},
            InputError,
            r"t.txt:1: the text is UTF-16: save the file as UTF-8",
        ),
    ],
)
def test_a_layout_that_does_not_show_is_asked_for(tmp_path: Path, text, options, error, message):
    """Each message says what was found and which option settles it."""
    with pytest.raises(error, match=message):
        triple_layout(write(tmp_path / "t.txt", text), **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\tr\tb\nb\tr\n",
            r"t.txt:2: expected 3 columns \(head relation tail\), tab-separated, found 2 in 'b\\tr'$",
        ),
        ("a\tr\tb\n\n\nb\tr\tc\td\n", r"t.txt:4: expected 3 columns .* found 4 in"),
        ("a\tr\tb\nb\t\tc\n", r"t.txt:2: the relation is empty in 'b\\t\\tc': expected 3 columns"),
        (
            b"a\tr\tb\r\ncaf\xe9\tr\tc\r\n",
            r"t.txt:2: the text is not UTF-8 \(byte 0xe9 at byte 4 of the line\): save",
        ),
        ("a\tr\tb\nb\x07\tr\tc\n", r"t.txt:2: the control character '\\x07' in 'b\\x07"),
        ("3\na\tb\tr\n", r"t.txt:1: the count says 3 lines and 1 follow: was the file cut short\?"),
        ("a\tr\tb\n" + "x" * 200 + "\n", r"t.txt:2: .*found 1 in 'x{77}\.\.\.'$"),
    ],
)
def test_a_bad_line_is_named(reading, tmp_path: Path, text, message):
    """File, line, value, and what was expected."""
    path = write(tmp_path / "t.txt", text)
    with pytest.raises(InputError, match=message):
        read_triples(reading, path, triple_layout(path), "train")


def test_a_quote_out_of_place_is_named(reading, tmp_path: Path):
    """In CSV alone: a tab-separated file knows no quoting."""
    path = write(tmp_path / "t.csv", 'a,r,b\n"a,r,b\n')
    with pytest.raises(
        InputError, match=r't.csv:2: a quote is out of place .* with "" for a quote inside quotes$'
    ):
        read_triples(reading, path, triple_layout(path), "train")


def test_lines_are_found_again_though_some_were_left_out(reading, tmp_path: Path):
    """A later check knows rows by their position in the file; their lines are those of the file."""
    path = write(tmp_path / "t.txt", "head\trelation\ttail\n\na\tr\tb\nragged\n   \nb\tr\tc\n")
    skipping = Reading(reading.staging, reading.unpacked, "skip", lambda message: None)
    table = read_table(skipping, path, triple_layout(path))
    assert table.count == 2
    assert table.size == 5
    positions = reading.connection.execute("SELECT position FROM incoming").fetchall()
    assert positions == [(1,), (4,)]
    assert table.lines([1, 4]) == {1: (3, "a\tr\tb"), 4: (6, "b\tr\tc")}
    rejects = reading.connection.execute(
        "SELECT line, text FROM rejects WHERE file = ?", [str(path)]
    ).fetchall()
    assert rejects == [(4, "ragged")]


def test_spaces_around_a_name_are_kept_and_said(reading, tmp_path: Path):
    """They may be meant; most often they are not."""
    said: list[str] = []
    path = write(tmp_path / "t.txt", "a\tr\tb\na \tr\t b\na \tr\tc\n")
    read_table(Reading(reading.staging, reading.unpacked, "raise", said.append), path, Layout("\t", TRIPLE))
    assert reading.connection.execute("SELECT head FROM incoming WHERE position = 1").fetchone() == ("a ",)
    (message,) = said
    assert message.endswith(
        "t.txt:2: a name begins or ends with a space, here and on 1 other line; the spaces are kept as part of the names"
    )


def test_triples_of_several_files_keep_their_order(reading, tmp_path: Path):
    """Ordinals count on from file to file."""
    reading.connection.execute("DELETE FROM edges")
    for name, text in (("1.txt", "a\tr\tb\nb\tr\tc\n"), ("2.txt", "c\tr\td\n")):
        path = write(tmp_path / name, text)
        read_triples(reading, path, triple_layout(path), "train")
    rows = reading.connection.execute("SELECT ordinal, head FROM edges ORDER BY ordinal").fetchall()
    assert rows == [(0, "a"), (1, "b"), (2, "c")]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a\tApple\nb\t\n", [("a", "Apple", "", []), ("b", "", "", [])]),
        ("id\tname\tkind\na\tApple\tFruit\n", [("a", "Apple", "Fruit", ["Fruit"])]),
        ("kind\tid\nFruit\ta\n", [("a", "", "Fruit", ["Fruit"])]),
    ],
)
def test_names_and_nodes_are_read(reading, tmp_path: Path, text, rows):
    """Label and name, or whatever the header says."""
    reading.connection.execute("DELETE FROM nodes")
    path = write(tmp_path / "n.tsv", text)
    read_nodes(reading, path, node_layout(path), only_known=False)
    assert reading.connection.execute("SELECT * FROM nodes").fetchall() == rows


def test_a_node_file_that_shows_nothing_is_refused(tmp_path: Path):
    """Three columns without a header could mean anything."""
    with pytest.raises(InputError, match="expected two columns, label and name, or a header with id"):
        node_layout(write(tmp_path / "n.tsv", "a\tb\tc\n"))
