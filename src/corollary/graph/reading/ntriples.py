"""N-Triples, the line format of RDF: IRIs and blank nodes as labels, literals left out, `rdfs:label` as names.

Format: W3C RDF 1.1 N-Triples (w3.org/TR/n-triples). An IRI is kept exactly, without its angle brackets and with
`\\uXXXX` decoded; a blank node keeps its label, `_:b0`, so the same label in two files is one node. Where an entity
has several names the first of those comes first that are in English or say no language.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from corollary.errors import InputError
from corollary.graph.reading.layouts import TRIPLE, sample
from corollary.graph.reading.readers import Reading, Table, forget, read_table
from corollary.graph.reading.staging import counted, one_row
from corollary.graph.reading.text_lines import BadLine, insert_columns, keep_rejects

LABEL = "http://www.w3.org/2000/01/rdf-schema#label"

_ESCAPE = r"\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}"
_IRI = rf'<(?:[^\x00-\x20<>"{{}}|^`\\]|{_ESCAPE})+>'
_NAME = r"[^\x00-\x2c\x2e\x2f\x3b-\x40\x5b-\x5e\x60\x7b-\x7f]+"
_BLANK = rf"_:{_NAME}(?:\.+{_NAME})*"
_TEXT = rf'"(?:[^"\\]|\\[tbnrf"\'\\]|{_ESCAPE})*"'
_LITERAL = rf"{_TEXT}(?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^{_IRI})?"
_LINE = rf"[ \t]*({_IRI}|{_BLANK})[ \t]*({_IRI})[ \t]*({_IRI}|{_BLANK}|{_LITERAL})[ \t]*\.[ \t]*(?:#.*)?"
_SHORT = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_NAMES = "CREATE TABLE IF NOT EXISTS rdf_names (label VARCHAR, text VARCHAR, foreign_ BOOLEAN, place BIGINT)"
_TURTLE = re.compile(r"\s*(@prefix|@base|PREFIX|BASE)\s", re.IGNORECASE)
_BATCH = 10_000  # escaped terms held at a time


@dataclass(frozen=True)
class NTriples:
    """How the lines of an N-Triples file are cut; takes the place of `layouts.Layout`."""

    columns: tuple[str, ...] = TRIPLE
    parts: tuple[str, ...] = TRIPLE
    first_row: int = 0
    header: bool = False
    count_line: bool = False
    blank: str = r"regexp_full_match(line, '[ \t]*(#.*)?')"
    """SQL for whether a line is passed over: comments are."""
    control: str = r"\x00"
    """What no line may hold; a literal may hold everything else."""

    def __str__(self) -> str:
        return "N-Triples"

    @property
    def sql(self) -> str:
        """SQL for subject, predicate and object as they are written; empty where the line is none."""
        pattern = _LINE.replace("'", "''")
        found = f"regexp_extract(line, '^{pattern}$', ['h', 'r', 't'])"
        return f"[{found}.h, {found}.r, {found}.t]"

    def problem(self, raw: bytes, optional: Collection[str] = ()) -> str:
        """What is wrong with a line that SQL marked, and what was expected."""
        line = raw.decode(errors="replace")
        shown = repr(line if len(line) <= 80 else f"{line[:77]}...")
        rest, terms = line.lstrip(" \t"), (("subject", f"{_IRI}|{_BLANK}"), ("predicate", _IRI))
        for name, pattern in (*terms, ("object", f"{_IRI}|{_BLANK}|{_LITERAL}")):
            match = re.match(pattern, rest)
            if match is None:
                expected = "an IRI in angle brackets" + {
                    "subject": " or a blank node", "object": ", a blank node or a literal"
                }.get(name, "")  # fmt: skip
                return f"the {name} is not N-Triples in {shown}: expected {expected}"
            rest = rest[match.end() :].lstrip(" \t")
        if rest.startswith("."):
            return f"expected nothing but a comment behind the full stop in {shown}"
        return f"expected a full stop behind subject, predicate and object in {shown}"


def is_ntriples(path: Path) -> bool:
    """Whether a file is N-Triples, by its first line that is no comment. Raises `InputError` for Turtle."""
    lines = [line for line in sample(path) if not line.lstrip().startswith("#")]
    if lines and _TURTLE.match(lines[0]):
        raise InputError(
            f"{path} is Turtle or TriG, which is not read: convert it to N-Triples, for example with "
            f"'riot --output=ntriples {path.name}' or rapper"
        )
    named = {".nt", ".ntriples"} & set(path.suffixes)
    return bool(named) or (len(lines) > 0 and re.fullmatch(_LINE, lines[0]) is not None)


def read_ntriples(reading: Reading, path: Path, split: str) -> tuple[Table, int]:
    """Append the triples of one file to the staging table `edges`; returns the table and the literals left out.

    Names are kept in the table `rdf_names` until `name_entities`.
    """
    table = read_table(reading, path, NTriples())
    connection = reading.connection
    (start,) = one_row(connection, "SELECT coalesce(max(ordinal) + 1, 0) FROM edges")
    terms = _terms(reading, table)
    connection.execute(
        f"""INSERT INTO edges SELECT position + {start}, ?, h, r, t, '' FROM ({terms}) WHERE t IS NOT NULL""",
        [split],
    )
    connection.execute(_NAMES)
    connection.execute(
        f"""INSERT INTO rdf_names SELECT h, value.text, NOT regexp_matches(value.language, '(?i)^(en(-.*)?)?$'), position + {start}
        FROM (SELECT h, position, regexp_extract(literal, '^"(.*)"(?:@([A-Za-z0-9-]+)|\\^\\^.*)?$', ['text', 'language']) AS value
        FROM ({terms}) WHERE r = '{LABEL}' AND t IS NULL)"""
    )
    (literals,) = one_row(connection, "SELECT count(*) FROM incoming WHERE starts_with(tail, chr(34))")
    forget(connection)
    connection.execute("DROP TABLE escaped")
    if literals:
        reading.say(f"{path}: left out {counted(literals, 'triple')} whose object is a literal")
    return replace(table, start=start), literals


def name_entities(connection: duckdb.DuckDBPyConnection) -> int:
    """Append the names of those entities that have edges to `nodes`; returns how many."""
    connection.execute(_NAMES)
    connection.execute(
        """CREATE TEMP TABLE chosen AS SELECT label, arg_min(text, (foreign_, place)) AS text, min(place) AS place
        FROM rdf_names SEMI JOIN (SELECT head AS label FROM edges UNION ALL SELECT tail FROM edges) AS used USING (label)
        GROUP BY label"""
    )
    _decode(connection, "SELECT DISTINCT text FROM chosen WHERE contains(text, chr(92))", readable)
    (count,) = one_row(
        connection,
        """INSERT INTO nodes SELECT label, coalesce(escaped.text, chosen.text), '', []
        FROM chosen LEFT JOIN escaped ON raw = chosen.text ORDER BY place""",
    )
    connection.execute("DROP TABLE chosen; DROP TABLE escaped; DROP TABLE rdf_names")
    return count


def unescaped(text: str) -> str:
    """Text with its escapes as the characters they stand for. Raises `ValueError` where one stands for none."""
    plain = re.sub(rf"({_ESCAPE})|\\(.)", lambda m: chr(int(m[1][2:], 16)) if m[1] else _SHORT[m[2]], text)
    plain.encode()  # a half of a surrogate pair is no character
    return plain


def readable(text: str) -> str:
    """A name on one line: control characters become spaces, escapes that stand for no character are kept."""
    try:
        return re.sub(r"[\x00-\x1f\x7f]", " ", unescaped(text))
    except ValueError:
        return text


def _terms(reading: Reading, table: Table) -> str:
    """SQL for `position`, the labels `h`, `r` and `t`, NULL for a literal, and the `literal`. Fills `escaped`."""
    written = " UNION ".join(
        f"SELECT {part} AS term FROM incoming WHERE starts_with({part}, '<') AND contains({part}, chr(92))"
        for part in TRIPLE
    )
    labels = [f"CASE WHEN starts_with({part}, '<') THEN {part}[2:-2] ELSE {part} END" for part in TRIPLE]
    joins = right = ""
    if _decode(reading.connection, written, _iri):
        _refuse_escapes(reading, table)
        labels = [f"coalesce(e{i}.text, {label})" for i, label in enumerate(labels)]
        joins = " ".join(f"LEFT JOIN escaped AS e{i} ON e{i}.raw = {part}" for i, part in enumerate(TRIPLE))
        right = "WHERE " + " AND ".join(f"{label} <> ''" for label in labels)
    head, relation, tail = labels
    return f"""SELECT position, {head} AS h, {relation} AS r,
        CASE WHEN starts_with(tail, chr(34)) THEN NULL ELSE {tail} END AS t, tail AS literal
        FROM incoming {joins} {right}"""


def _iri(term: str) -> str:
    """The IRI in angle brackets, decoded; empty where an escape stands for no character of an IRI."""
    try:
        plain = unescaped(term[1:-1])
    except ValueError:
        return ""
    return "" if re.search(r"[\x00-\x20\x7f<>]", plain) else plain


def _refuse_escapes(reading: Reading, table: Table) -> None:
    """Raise for the first line with an escape that `_iri` could not decode, or keep all such lines as rejects."""
    wrong = " UNION ALL ".join(
        f"SELECT position, {part} AS term FROM incoming SEMI JOIN (FROM escaped WHERE text = '') AS e ON raw = {part}"
        for part in TRIPLE
    )
    limit = "LIMIT 1" if reading.on_error == "raise" else ""
    found = reading.connection.execute(
        f"SELECT position, min(term) FROM ({wrong}) GROUP BY position ORDER BY position {limit}"
    ).fetchall()
    lines = table.lines([position for position, _ in found])
    bad = [
        BadLine(
            lines[position][0],
            f"{term} has an escape that stands for no character of an IRI",
            lines[position][1],
        )
        for position, term in found
    ]
    if bad and reading.on_error == "raise":
        raise InputError(f"{table.path}:{bad[0].line}: {bad[0].problem}")
    keep_rejects(reading.connection, table.path, bad)


def _decode(connection: duckdb.DuckDBPyConnection, query: str, decode: Callable[[str], str]) -> int:
    """Table `escaped(raw, text)` of the texts that a query finds; returns how many."""
    connection.execute("CREATE OR REPLACE TEMP TABLE escaped (raw VARCHAR, text VARCHAR)")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE to_decode AS {query}")
    count = one_row(connection, "SELECT count(*) FROM to_decode")[0]
    for first in range(0, count, _BATCH):
        rows = connection.execute(
            f"FROM to_decode WHERE rowid >= {first} AND rowid < {first + _BATCH}"
        ).fetchall()
        raw = [text for (text,) in rows]
        insert_columns(connection, "escaped", raw, [decode(text) for text in raw])
    connection.execute("DROP TABLE to_decode")
    return count
