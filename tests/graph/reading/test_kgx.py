"""KGX files: what is read, what is merged, and what is said of a line that is wrong."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corollary.errors import InputError, UnknownName
from corollary.graph.reading.biolink import primary_type, read_edge_map, relation_key, write_edge_map
from corollary.graph.reading.kgx import stage_kgx
from corollary.graph.reading.staging import TABLES, Staging

NODES = [
    {"id": "A:1", "name": "aspirin", "category": ["biolink:SmallMolecule", "biolink:ChemicalEntity"]},
    {"id": "G:1", "name": "gene one", "category": ["biolink:Gene"]},
    {"id": "D:1", "name": "disease one", "category": ["biolink:Disease"]},
]
EDGES = [
    {
        "subject": "A:1",
        "predicate": "biolink:treats",
        "object": "D:1",
        "primary_knowledge_source": "infores:x",
    },
    {"subject": "G:1", "predicate": "biolink:interacts_with", "object": "A:1"},
]


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        yield connection


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def jsonl(path: Path, rows: list) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def tsv(path: Path, rows: list[dict], columns: list[str] | None = None) -> Path:
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(columns)]
    for row in rows:
        values = (row.get(name, "") for name in columns)
        lines.append("\t".join("|".join(v) if isinstance(v, list) else v for v in values))
    return write(path, "\n".join(lines) + "\n")


def stage(connection, nodes, edges, **options):
    said: list[str] = []
    report = stage_kgx(connection, nodes, edges, say=said.append, **options)
    return report, "\n".join(said)


def rows(connection, table, columns="*"):
    return connection.execute(f"SELECT {columns} FROM {table}").fetchall()


def triples(connection):
    return connection.execute("SELECT head, relation, tail FROM edges ORDER BY ordinal").fetchall()


EXPECTED_NODES = [
    ("A:1", "aspirin", "SmallMolecule", ["SmallMolecule", "ChemicalEntity"]),
    ("G:1", "gene one", "Gene", ["Gene"]),
    ("D:1", "disease one", "Disease", ["Disease"]),
]
EXPECTED_TRIPLES = [
    ("A:1", "biolink:treats", "D:1"),
    ("G:1", "biolink:interacts_with", "A:1"),
]


@pytest.mark.parametrize("form", ["tsv", "jsonl", "shuffled tsv", "gzip", "crlf", "bom", "blank lines"])
def test_every_form_of_the_same_graph_gives_the_same_rows(connection, tmp_path, form):
    """TSV in any column order, JSON lines, gzip, line ends and blank lines do not change what is read."""
    writer = jsonl if form == "jsonl" else tsv
    nodes, edges = writer(tmp_path / "n", NODES), writer(tmp_path / "e", EDGES)
    if form == "shuffled tsv":
        tsv(nodes, NODES, ["category", "x", "name", "id"])
        tsv(edges, EDGES, ["object", "primary_knowledge_source", "predicate", "extra", "subject"])
    for path in (nodes, edges):
        text = path.read_bytes()
        changed = {
            "gzip": gzip.compress(text, mtime=0),
            "crlf": text.replace(b"\n", b"\r\n"),
            "bom": b"\xef\xbb\xbf" + text,
            "blank lines": text.replace(b"\n", b"\n\n  \n"),
        }
        path.write_bytes(changed.get(form, text))
    report, _ = stage(connection, [nodes], [edges], split="valid")
    assert rows(connection, "nodes") == EXPECTED_NODES
    assert triples(connection) == EXPECTED_TRIPLES
    assert rows(connection, "edges", "DISTINCT split") == [("valid",)]
    assert (report.nodes_read, report.edges_read, report.edges_staged, report.rejected) == (3, 2, 2, 0)
    assert {name for (name,) in rows(connection, "duckdb_tables()", "table_name")} == {
        "nodes",
        "edges",
        "entity_ids",
        "relation_ids",
    }


@pytest.mark.parametrize(
    "category",
    [
        "biolink:Gene|biolink:NamedThing",
        ["biolink:Gene", "biolink:NamedThing"],
        '["biolink:Gene", "biolink:NamedThing"]',
    ],
)
def test_categories_come_as_list_or_as_text(connection, tmp_path, category):
    """Old files have one text, joined by `|`; TSV may hold a JSON array."""
    path = jsonl(tmp_path / "n.jsonl", [{"id": "a", "category": category}])
    if isinstance(category, str):
        path = tsv(tmp_path / "n.tsv", [{"id": "a", "category": category}])
    stage(connection, [path], [])
    assert rows(connection, "nodes") == [("a", "", "Gene", ["Gene", "NamedThing"])]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (["biolink:Gene", "biolink:GeneOrGeneProduct", "biolink:NamedThing"], "Gene"),
        (["biolink:NamedThing", "biolink:BiologicalEntity", "biolink:Disease"], "Disease"),
        (["biolink:ChemicalEntity", "biolink:MolecularEntity", "biolink:SmallMolecule"], "SmallMolecule"),
        (["biolink:NamedThing", "biolink:ChemicalEntity"], "ChemicalEntity"),
        (["biolink:NamedThing"], "NamedThing"),
        (["Anatomy", "Compound"], "Anatomy"),
        ([], ""),
    ],
)
def test_primary_type_is_the_most_specific_category(categories, expected):
    """Whether ancestors come last, first or in alphabetical order."""
    assert primary_type(categories) == expected


def test_optional_columns_may_be_missing_and_null(connection, tmp_path):
    """Only `id` of a node and the three parts of an edge are needed."""
    nodes = jsonl(
        tmp_path / "n", [{"id": "a"}, {"id": "b", "name": None, "category": None}, {"id": "c", "name": 7}]
    )
    edges = tsv(tmp_path / "e", [{"subject": "a", "predicate": "p", "object": "b"}])
    stage(connection, [nodes], [edges])
    assert rows(connection, "nodes") == [("a", "", "", []), ("b", "", "", []), ("c", "7", "", [])]
    assert rows(connection, "edges", "source") == [("",)]


def test_nodes_named_twice_are_merged(connection, tmp_path):
    """First name and type that are not empty, all categories in the order of reading; earlier calls count."""
    first = jsonl(tmp_path / "1", [{"id": "b"}, {"id": "a", "category": ["biolink:Gene"]}])
    second = jsonl(
        tmp_path / "2",
        [{"id": "a", "name": "A", "category": ["biolink:Protein", "biolink:Gene"]}, {"id": "a", "name": "X"}],
    )
    stage(connection, [first], [])
    report, _ = stage(connection, [second], [])
    assert rows(connection, "nodes") == [("b", "", "", []), ("a", "A", "Gene", ["Gene", "Protein"])]
    assert report.nodes_merged == 2


def test_edges_from_several_sources_become_one(connection, tmp_path):
    """Sources are joined by `|`, sorted, each once; the first given of three columns is the source."""
    edge = {"subject": "a", "predicate": "p", "object": "b"}
    path = jsonl(
        tmp_path / "e",
        [
            {**edge, "primary_knowledge_source": "z"},
            {**edge, "object": "c"},
            {**edge, "knowledge_source": "y", "provided_by": ["no"]},
            {**edge, "provided_by": ["x", "z"]},
            {**edge, "provided_by": "y"},
        ],
    )
    report, _ = stage(connection, [], [path])
    assert connection.execute("SELECT tail, source FROM edges ORDER BY ordinal").fetchall() == [
        ("b", "x|y|z"),
        ("c", ""),
    ]
    assert (report.edges_read, report.edges_merged, report.edges_staged) == (5, 3, 2)


@pytest.mark.parametrize("policy", ["drop", "add"])
def test_edges_whose_node_is_missing_are_counted_and_named(connection, tmp_path, policy):
    """The report gives label, file and line of the first edge; the edges go, or the nodes come."""
    nodes = tsv(tmp_path / "n.tsv", NODES)
    edges = write(
        tmp_path / "e.tsv",
        "subject\tpredicate\tobject\n\nA:1\tp\tD:1\nA:1\tp\tX:9\n\nX:9\tp\tY:8\nG:1\tp\tX:9\n",
    )
    report, said = stage(connection, [nodes], [edges], missing_nodes=policy)
    assert (report.nodes_missing, report.edges_read) == (2, 4)
    assert report.missing_examples == (f"X:9 ({edges}:4)", f"Y:8 ({edges}:6)")
    assert f"X:9 ({edges}:4)" in said
    assert report.edges_without_node == (3 if policy == "drop" else 0)
    assert len(triples(connection)) == (1 if policy == "drop" else 4)
    added = [("X:9", "", "", []), ("Y:8", "", "", [])] if policy == "add" else []
    assert rows(connection, "nodes") == EXPECTED_NODES + added


def test_without_node_files_nothing_is_missing(connection, tmp_path):
    """Edges alone are a graph."""
    report, _ = stage(connection, [], [jsonl(tmp_path / "e", EDGES)])
    assert (report.nodes_missing, report.edges_staged) == (0, 2)


SYMMETRIC = [
    {"subject": "b", "predicate": "biolink:interacts_with", "object": "a"},
    {"subject": "a", "predicate": "biolink:interacts_with", "object": "b"},
    {"subject": "d", "predicate": "biolink:interacts_with", "object": "c"},
    {"subject": "e", "predicate": "biolink:interacts_with", "object": "e"},
    {"subject": "b", "predicate": "biolink:treats", "object": "a"},
]


@pytest.mark.parametrize(
    ("mode", "expected", "turned", "merged"),
    [
        ("keep", ["ba", "ab", "dc", "ee", "t:ba"], 0, 0),
        ("once", ["ab", "cd", "ee", "t:ba"], 2, 1),
        ("both", ["ba", "ab", "dc", "cd", "ee", "t:ba"], 3, 2),
    ],
)
def test_symmetric_predicates_are_stored_as_asked(connection, tmp_path, mode, expected, turned, merged):
    """A loop is never doubled, and a directed predicate is never turned."""
    report, _ = stage(connection, [], [jsonl(tmp_path / "e", SYMMETRIC)], symmetric=mode)
    found = [("t:" if "treats" in r else "") + h + t for h, r, t in triples(connection)]
    assert found == expected
    assert (report.edges_symmetric, report.edges_turned, report.edges_merged) == (4, turned, merged)


def test_other_predicates_can_be_called_symmetric(connection, tmp_path):
    """The list is the user's; a name that no edge has is refused with the nearest."""
    edges = jsonl(tmp_path / "e", SYMMETRIC)
    stage(connection, [], [edges], symmetric="once", symmetric_predicates=["treats"])
    assert ("a", "biolink:treats", "b") in triples(connection)
    with pytest.raises(
        UnknownName, match=r"symmetric predicate 'treat' is not known. Did you mean 'biolink:treats'"
    ):
        stage(connection, [], [edges], symmetric="once", symmetric_predicates=["treat"])


QUALIFIED = [
    {"subject": "b", "predicate": "biolink:affects", "object": "a", "object_aspect_qualifier": "activity"},
    {"subject": "b", "predicate": "biolink:affects", "object": "a"},
    {
        "subject": "b",
        "predicate": "biolink:interacts_with",
        "object": "a",
        "object_aspect_qualifier": "activity",
    },
]


@pytest.mark.parametrize("writer", [tsv, jsonl])
def test_qualifiers_make_relations(connection, tmp_path, writer):
    """A relation is the predicate with the chosen qualifiers that are not empty; the map of names says so."""
    path = writer(tmp_path / "e", QUALIFIED)
    chosen = ["object_aspect_qualifier"]
    report, _ = stage(connection, [], [path], qualifiers=chosen, symmetric="once")
    assert triples(connection) == [
        ("b", "biolink:affects[object_aspect_qualifier=activity]", "a"),
        ("b", "biolink:affects", "a"),
        (
            "b",
            "biolink:interacts_with[object_aspect_qualifier=activity]",
            "a",
        ),  # not turned: it has an object
    ]
    key = relation_key("biolink:affects", {"object_aspect_qualifier": ""})
    assert key == '{"object_aspect_qualifier": "", "predicate": "biolink:affects"}'
    assert report.edge_map[key] == "biolink:affects"


@pytest.mark.parametrize("writer", [tsv, jsonl])
def test_an_unknown_qualifier_is_refused(connection, tmp_path, writer):
    path = writer(tmp_path / "e.x", QUALIFIED)
    with pytest.raises(
        UnknownName,
        match=r"e\.x: qualifier 'object_aspect' is not known. Did you mean 'object_aspect_qualifier'",
    ):
        stage(connection, [], [path], qualifiers=["object_aspect"])


def test_an_edge_map_names_the_relations(connection, tmp_path):
    """Names stay those of the map; its qualifiers are taken; empty ones, as older scripts write them, do not matter."""
    empty = {"subject_aspect_qualifier": "", "object_direction_qualifier": ""}
    names = {
        relation_key("biolink:affects", {"object_aspect_qualifier": "activity", **empty}): "predicate:0",
        relation_key("biolink:affects", {"object_aspect_qualifier": "", **empty}): "predicate:7",
        "biolink:treats": "predicate:2",
    }
    path = tmp_path / "edge_map.json"
    write_edge_map(path, names)
    assert read_edge_map(path).qualifiers == ("object_aspect_qualifier",)
    edges = [*QUALIFIED[:2], {"subject": "b", "predicate": "biolink:treats", "object": "a"}]
    report, _ = stage(connection, [], [jsonl(tmp_path / "e", edges)], edge_map=path)
    assert [relation for _, relation, _ in triples(connection)] == [
        "predicate:0",
        "predicate:7",
        "predicate:2",
    ]
    again = tmp_path / "again.json"
    write_edge_map(again, report.edge_map)
    assert (
        read_edge_map(again).name_of("biolink:affects", {"object_aspect_qualifier": "activity"})
        == "predicate:0"
    )


def test_a_relation_that_the_edge_map_lacks_is_a_wrong_line(connection, tmp_path):
    """Named by file and line, or left out and kept as a reject."""
    path, edges = tmp_path / "m.json", jsonl(tmp_path / "e.jsonl", QUALIFIED)
    write_edge_map(path, {"biolink:affects": "predicate:0"})
    with pytest.raises(
        InputError, match=r"e\.jsonl:3: .*m\.json: relation 'biolink:interacts_with' is not known"
    ):
        stage(connection, [], [edges], edge_map=path)
    report, _ = stage(connection, [], [edges], edge_map=path, on_error="skip")
    assert (report.rejected, report.edges_staged, report.edges_merged) == (1, 1, 1)
    assert rows(connection, "rejects", "line") == [(3,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", r"m\.json: expected one JSON object of relation names"),
        ('{"a": 1}', r"m\.json: expected one JSON object of relation names"),
        ('{"a": ', r"m\.json:1: not valid JSON"),
        ('{"{broken": "p"}', r"m\.json: the key '{broken' is not valid JSON"),
        ('{"{\\"p\\": 1}": "p"}', r"m\.json: the key .* is not understood"),
        ('{"a": "p", "{\\"predicate\\": \\"a\\"}": "q"}', r"has two names, 'p' and 'q'"),
    ],
)
def test_a_wrong_edge_map_is_explained(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_edge_map(write(tmp_path / "m.json", text))


GOOD_EDGE = '{"subject": "a", "predicate": "p", "object": "b"}'
WRONG_LINES = {
    '{"subject": "a"': "not valid JSON",
    "[1, 2]": "expected a JSON object, found [1, 2]",
    '{"subject": "a", "predicate": "p"}': "'object' is missing",
    '{"subject": "a", "predicate": "p", "object": null}': "'object' is missing",
    '{"subject": "a", "predicate": "p", "object": 5}': "'object' is 5: expected text",
    '{"subject": "a", "predicate": "p", "object": ["b"]}': "'object' is [\"b\"]: expected text",
    '{"subject": " ", "predicate": "p", "object": "b"}': "'subject' is empty",
    '{"subject": "a\\tx", "predicate": "p", "object": "b"}': "'subject' holds a control character",
    "\ttext": "not valid JSON",
    '{"subject": "a\0b"}': "a zero byte at byte 15 of the line",
    b'{"subject": "\xff"}': "the text is not UTF-8 (byte 0xff at byte 14 of the line)",
}


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_wrong_json_line_is_named_or_skipped(connection, tmp_path, line):
    """Blank lines count as lines; what is right stays when the rest is skipped."""
    raw = line if isinstance(line, bytes) else line.encode()
    good = GOOD_EDGE.encode()
    path = write(tmp_path / "e.jsonl", good + b"\n\n \n" + raw + b"\r\n" + good.replace(b'"b"', b'"c"'))
    with pytest.raises(InputError) as error:
        stage(connection, [], [path])
    assert str(error.value).startswith(f"{path}:4: {WRONG_LINES[line]}")
    report, said = stage(connection, [], [path], on_error="skip")
    assert triples(connection) == [("a", "p", "b"), ("a", "p", "c")]
    assert report.rejected == 1
    assert "wrong lines left out: 1" in said
    ((file, number, problem, _),) = rows(connection, "rejects")
    assert (file, number) == (str(path), 4)
    assert problem.startswith(WRONG_LINES[line])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a\tp", "the line has 2 columns, its header has 4"),
        ("a\tp\tb\tx\ty", "the line has 5 columns, its header has 4"),
        ("\tp\tb\t", "'subject' is empty"),
        ("a\tp\t  \t", "'object' is empty"),
        ("a\tp\x01\tb\t", "'predicate' holds a control character"),
        ("a\tp\tb\0c\t", "a zero byte at byte 6"),
        ("\t\t\t", "'subject' is empty"),
    ],
)
def test_a_wrong_tsv_line_is_named_or_skipped(connection, tmp_path, line, problem):
    path = write(tmp_path / "e.tsv", f"subject\tpredicate\tobject\tx\na\tp\tb\t\n{line}\nc\tp\td\tx\n")
    with pytest.raises(InputError) as error:
        stage(connection, [], [path])
    assert str(error.value).startswith(f"{path}:3: {problem}")
    stage(connection, [], [path], on_error="skip")
    assert triples(connection) == [("a", "p", "b"), ("c", "p", "d")]


def test_an_empty_node_id_is_named(connection, tmp_path):
    with pytest.raises(InputError, match=r"n\.tsv:3: 'id' is empty"):
        stage(connection, [write(tmp_path / "n.tsv", "id\tname\na\tA\n\tB\n")], [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty", b"", "is empty"),
        ("blank", b"\n \n", "is empty"),
        ("csv", b"subject,predicate,object\n", "separated by commas"),
        (
            "header",
            b"subject\tpredicat\tobject\n",
            r"there is no column 'predicate', only 'subject', 'predicat'",
        ),
        ("twice", b"subject\tpredicate\tobject\tobject\n", "names the column 'object' 2 times"),
        ("array", b'[\n{"subject": 1}\n]', "is a JSON array"),
        ("zip", b"PK\x03\x04abc", "is a zip archive"),
        ("utf16", "subject".encode("utf-16"), "is UTF-16 text"),
        (
            "gzip",
            gzip.compress(b"subject\tpredicate\tobject\n" + b"a\tp\tb\n" * 9000, mtime=0)[:-30],
            "gzip data is damaged",
        ),
        ("notgzip", b"\x1f\x8b\x08\x00abcdefgh", "gzip data is damaged"),
    ],
)
def test_a_file_that_is_no_kgx_is_explained(connection, tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        stage(connection, [], [write(tmp_path / name, content)])


def test_a_folder_or_a_missing_file_is_explained(connection, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        stage(connection, [tmp_path], [])
    with pytest.raises(InputError, match="does not exist"):
        stage(connection, [tmp_path / "none"], [])


def test_names_of_files_are_not_patterns(connection, tmp_path):
    """A name with brackets and stars is the name of one file."""
    folder = tmp_path / "a[1] it's *"
    folder.mkdir()
    stage(connection, [], [jsonl(folder / "e?.jsonl", EDGES)])
    assert triples(connection) == EXPECTED_TRIPLES


_names = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.sampled_from(["a", "b", "", " ", "p", 'x"y', "x|y", "\\"]),
)
_values = st.one_of(_names, st.none(), st.integers(), st.lists(_names, max_size=2), st.booleans())
_objects = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("subject", "predicate", "object", "primary_knowledge_source"), _values)
).map(lambda row: json.dumps(row, ensure_ascii=False).encode())
_good = st.tuples(*[st.sampled_from(["a", "b", "c d", "é"])] * 3).map(
    lambda t: json.dumps(dict(zip(("subject", "predicate", "object"), t, strict=True))).encode()
)
_raw = st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b""))
_lines = st.lists(st.one_of(_good, _objects, _raw), max_size=12)


def read_plainly(lines: list[bytes]) -> tuple[list[tuple[str, str, str]], list[int]]:
    """The slow, obvious version: distinct good triples in order, and the numbers of the wrong lines."""
    found, wrong = [], []
    for number, raw in enumerate(lines, start=1):
        if not raw.strip(b" "):
            continue
        try:
            row = json.loads(raw.decode())
            triple = tuple(row[name] for name in ("subject", "predicate", "object"))
            if b"\0" in raw or not all(isinstance(part, str) and part.strip(" ") for part in triple):
                raise ValueError(raw)
            if any(ord(letter) < 32 or ord(letter) == 127 for part in triple for letter in part):
                raise ValueError(raw)
            found.append(triple)
        except (ValueError, KeyError, TypeError):
            wrong.append(number)
    return list(dict.fromkeys(found)), wrong


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=_lines, end=st.sampled_from([b"\n", b"\r\n"]))
def test_malformed_lines_never_pass_and_good_ones_never_fail(tmp_path, lines, end):
    """Whatever the bytes, reading agrees with the plain version, line number by line number."""
    lines = [GOOD_EDGE.encode(), *lines]
    path = write(tmp_path / "e.jsonl", end.join(lines) + end)
    expected, wrong = read_plainly(lines)
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        report, _ = stage(connection, [], [path], on_error="skip")
        assert triples(connection) == expected
        numbers = sorted(n for (n,) in rows(connection, "rejects", "line")) if report.rejected else []
        assert numbers == wrong
        if wrong:
            with pytest.raises(InputError, match=r"e\.jsonl:\d+: "):
                stage(connection, [], [path])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=10), max_size=10))
def test_malformed_tsv_is_an_input_error_or_read(tmp_path, lines):
    """No bytes lead to another exception, or to a triple that does not stand in a line."""
    path = write(tmp_path / "e.tsv", b"\n".join([b"subject\tpredicate\tobject", b"a\tp\tb", *lines]))
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        stage(connection, [], [path], on_error="skip")
        text = path.read_bytes()
        for triple in triples(connection):
            assert "\t".join(triple).encode() in text


DATA = os.environ.get("COROLLARY_DATA")


@pytest.mark.skipif(DATA is None, reason="COROLLARY_DATA does not name a folder with the HPO files")
def test_the_human_phenotype_ontology_is_read_whole(tmp_path):
    """36,853 nodes of three types and 548,034 edges, none twice, within 128 MiB for the database."""
    folder = Path(DATA or "") / "biomed"
    files = [folder / f"kgx-hpo-2025-01-16_{what}.tsv.gz" for what in ("nodes", "edges")]
    if not all(file.exists() for file in files):
        pytest.skip("COROLLARY_DATA holds no biomed/kgx-hpo-2025-01-16 files")
    with Staging(tmp_path, 128 << 20) as staging:
        report, _ = stage(staging.connection, files[:1], files[1:])
        types = Counter(dict(rows(staging.connection, "nodes GROUP BY type", "type, count(*)")))
        relations = dict(rows(staging.connection, "edges GROUP BY relation", "relation, count(*)"))
    assert types == {"PhenotypicFeature": 19_034, "Disease": 12_687, "Gene": 5_132}
    assert relations["biolink:subclass_of"] == 23_392
    assert (report.edges_staged, report.edges_merged, report.nodes_missing) == (548_034, 0, 0)
