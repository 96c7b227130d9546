"""N-Triples: read as by a plain parser of one line after the other, or refused by file and line."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.ntriples import (
    LABEL,
    is_ntriples,
    name_entities,
    read_ntriples,
    readable,
    unescaped,
)
from corollary.graph.reading.readers import Reading
from corollary.graph.reading.staging import Staging
from tests.reference import reading as reference


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    with Staging(tmp_path / "staging", None) as staging:
        yield Reading(staging, Unpacked(staging.folder / "unpacked"), "raise", lambda message: None)


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def edges(reading: Reading) -> list[tuple[str, str, str]]:
    return reading.connection.execute("SELECT head, relation, tail FROM edges ORDER BY ordinal").fetchall()


def read(reading: Reading, path: Path) -> tuple[list[tuple[str, str, str]], int]:
    reading.connection.execute("DELETE FROM edges")
    _, literals = read_ntriples(reading, path, "train")
    return edges(reading), literals


def test_every_form_of_a_line_is_read(reading, tmp_path: Path):
    """The examples of the W3C page: comments, blank nodes, no spaces, escapes, tags and types of literals."""
    path = write(
        tmp_path / "w3c.nt",
        r"""# comment
<http://one.example/s1> <http://one.example/p1> <http://one.example/o1> . # comments may stand here
<http://one.example/s1><http://one.example/p1><http://one.example/o2>.
_:s <http://p> _:o.1 .
	_:s	<http://p>	<http://example/\u00E9\U0001F600> .
<http://s> <http://p> "That Seventies Show"@en .
<http://s> <http://p> "a \"dot\" . and <brackets>"@fr-be .
<http://s> <http://p> "2"^^<http://www.w3.org/2001/XMLSchema#integer> .
<http://s> <http://p> "" .

   # the end
""",
    )
    triples, literals = read(reading, path)
    assert triples == [
        ("http://one.example/s1", "http://one.example/p1", "http://one.example/o1"),
        ("http://one.example/s1", "http://one.example/p1", "http://one.example/o2"),
        ("_:s", "http://p", "_:o.1"),
        ("_:s", "http://p", "http://example/é😀"),
    ]
    assert literals == 4


PIECES = st.sampled_from(
    [
        "<a:b>", "<a>", "<é>", r"<a\u00e9>", r"<\u0000>", r"<\ud800>", "<>", "<a b>", "_:x", "_:x.y", "_:", '"t"',
        '"t"@en', '"t"@', r'"\n\u0041"', r'"\x"', '"t"^^<a>', '"t"^^x', '"', ".", "..", " ", "\t", "# no", "\n", "\r\n", "",
    ]
)  # fmt: skip
RIGHT = st.sampled_from(
    [
        "<a:b> <p> <c> .", "_:x <p> _:y.", r"<a\u00e9><p><c>.", '<a> <p> "t"@en .', r'<a> <p> "\"\u0041\\" . # no',
        "# a comment", " \t", "<a> <p> <c> . .", "<a> <p> .", "<a> _:p <c> .", "x", '"t" <p> <c> .', "<a> <p> <c>",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(RIGHT | st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=4))
def test_any_lines_are_read_as_by_the_reference_or_refused(reading, tmp_path, lines):
    """The same triples and as many literals, or the line that is wrong."""
    path = write(tmp_path / "any.nt", "\n".join(lines))
    try:
        expected = reference.ntriples("\n".join(lines))
    except ValueError as error:
        with pytest.raises(InputError, match=r"any.nt") as caught:
            read(reading, path)
        if number := re.match("[0-9]+", str(error)):
            assert str(caught.value).startswith(f"{path}:{number[0]}: ")
    else:
        assert read(reading, path) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a <p> <o> .", "the subject is not N-Triples in 'a <p> <o> .': expected an IRI in angle brackets or a blank node"),
        ("<s> _:p <o> .", "the predicate is not N-Triples in '<s> _:p <o> .': expected an IRI in angle brackets"),
        ('<s> <p> "o .', "the object is not N-Triples in '<s> <p> \"o .': expected an IRI in angle brackets, a blank node or a literal"),
        ("<s> <p> <o>", "expected a full stop behind subject, predicate and object in '<s> <p> <o>'"),
        ("<s> <p> <o> . x", "expected nothing but a comment behind the full stop in '<s> <p> <o> . x'"),
        (r"<s> <p> <\u0020> .", r"<\u0020> has an escape that stands for no character of an IRI"),
        (r"<s> <\uD800> <o> .", r"<\uD800> has an escape that stands for no character of an IRI"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(reading, tmp_path: Path, line, message):
    """File, line, what was expected; skipped, it is kept with its reason."""
    path = write(tmp_path / "t.nt", f"# one\n\n<a> <b> <c> .\n{line}\n")
    with pytest.raises(InputError) as caught:
        read(reading, path)
    assert str(caught.value) == f"{path}:4: {message}"
    skipping = Reading(reading.staging, reading.unpacked, "skip", reading.say)
    assert read(skipping, path) == ([("a", "b", "c")], 0)
    assert reading.connection.execute("SELECT line, problem FROM rejects").fetchall() == [(4, message)]


def test_names_come_from_labels_in_english_or_without_a_language(reading, tmp_path: Path):
    """The first of these, else the first of all; only for what has edges; escapes decoded, on one line."""
    label = f"<{LABEL}>"
    path = write(
        tmp_path / "t.nt",
        f"""<a> <p> <b> .
<a> {label} "Zahn"@de .
<a> {label} "tooth"@en-GB .
<a> {label} "dens" .
<b> {label} "dent \\"de\\"\\nlait"@fr .
<b> {label} "Milchzahn"@de .
<lonely> {label} "nobody" .
<c> <p> <b> .
<c> {label} "3"^^<http://www.w3.org/2001/XMLSchema#string> .
""",
    )
    assert read(reading, path)[1] == 7
    assert name_entities(reading.connection) == 3
    rows = reading.connection.execute("SELECT label, name FROM nodes").fetchall()
    assert rows == [("a", "tooth"), ("b", 'dent "de" lait'), ("c", "3")]


def test_what_was_left_out_is_said(tmp_path: Path, reading):
    said: list[str] = []
    path = write(tmp_path / "t.nt", '<a> <p> <b> .\n<a> <p> "x" .\n<a> <p> "y" .\n')
    read_ntriples(Reading(reading.staging, reading.unpacked, "raise", said.append), path, "train")
    assert said == [f"{path}: left out 2 triples whose object is a literal"]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.nt", "x\n", True),
        ("a.nt.gz", "x\n", True),
        ("a.txt", "# c\n<a> <b> <c> .\n", True),
        ("a.txt", "<a>\t<b>\t<c>\n", False),
        ("a.txt", "a\tb\tc\n", False),
        ("a.txt", "# only\n", False),
    ],
)
def test_a_file_is_known_by_its_name_or_its_first_line(tmp_path: Path, name, text, found):
    assert is_ntriples(write(tmp_path / name, text)) == found


@pytest.mark.parametrize("text", ["@prefix a: <b> .\n", "# c\nPREFIX a: <b>\n", "@base <b> .\n"])
def test_turtle_is_refused_with_what_to_do(tmp_path: Path, text):
    """It looks alike, and is not read line by line."""
    with pytest.raises(
        InputError, match=r"is Turtle or TriG, which is not read: convert it to N-Triples, for example"
    ):
        is_ntriples(write(tmp_path / "a.ttl", text))


def test_a_packed_file_is_unpacked_first(tmp_path: Path, reading):
    """Like any other text."""
    packed = write(tmp_path / "t.nt.gz", gzip.compress(b"<a> <p> <b> .\n", mtime=0))
    assert read(reading, reading.unpacked.plain(packed)) == ([("a", "p", "b")], 0)


def test_escapes_are_decoded():
    """All of them in a name; a character that does not exist is an error, and in a name stays as it is written."""
    assert unescaped(r"\t\b\n\r\f\"\'\\u0041\u0041\U00000042") == "\t\b\n\r\f\"'\\u0041AB"
    for text in (r"\ud800", r"\U00110000"):
        with pytest.raises(ValueError, match=r"."):
            unescaped(text)
        assert readable(text) == text
    assert readable(r"a\nb") == "a b"
