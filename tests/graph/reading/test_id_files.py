"""Files of labels and ids: in whatever order, kept exactly, or refused by line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.id_files import check_labels, labels_for_ids, read_ids
from corollary.graph.reading.layouts import triple_layout
from corollary.graph.reading.readers import Reading, read_triples
from corollary.graph.reading.staging import Staging


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A database that all tests of this file share; bad lines stop."""
    with Staging(tmp_path_factory.mktemp("staging"), None) as staging:
        yield Reading(staging, Unpacked(staging.folder / "unpacked"), "raise", lambda message: None)


@pytest.fixture
def reading(shared: Reading) -> Reading:
    """With empty tables."""
    for table in ("edges", "entity_ids", "relation_ids"):
        shared.connection.execute(f"DELETE FROM {table}")
    return shared


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def ids(reading: Reading) -> dict[str, int]:
    return dict(reading.connection.execute("SELECT label, id FROM entity_ids ORDER BY id").fetchall())


def edges(reading: Reading) -> list[tuple[str, str, str]]:
    return reading.connection.execute("SELECT head, relation, tail FROM edges ORDER BY ordinal").fetchall()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("node_dict.txt", "x\t1\ny\t0\nz\t2\n", "no header, columns label id"),
        ("entity2id.txt", "3\nx\t1\ny\t0\nz\t2\n", "a count on line 1, no header, columns label id"),
        ("entity2id.txt", "3\nx 1\ny 0\nz 2\n", "a count on line 1, no header, columns label id"),
        ("entity_ids.del", "1\tx\n0\ty\n2\tz\n", "no header, columns id label"),
        ("entities.dict", "0\ty\r\n1\tx\r\n2\tz", "no header, columns id label"),
        ("entity_to_id.tsv", "id\tlabel\n0\ty\n1\tx\n2\tz\n", "a header, columns id label"),
        ("ids.tsv", "entity\tidx\nx\t1\ny\t0\nz\t2\n", "a header, columns label id"),
        ("ids.csv", "what,number of it\nx,1\ny,0\nz,2\n", "a header, columns label id"),
        ("twice.txt", "x\t1\ny\t0\nz\t2\nx\t1\n", "no header, columns label id"),
    ],
)
def test_ids_are_kept_whatever_the_order_of_the_columns(reading, tmp_path: Path, name, text, said):
    """Every file that other programs write; the layout is said as it was understood."""
    table = read_ids(reading, write(tmp_path / name, text), "entity")
    assert ids(reading) == {"y": 0, "x": 1, "z": 2}
    assert str(table.layout).endswith(said)


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("7\t0\n9\t1\n", None, {"7": 0, "9": 1}),
        ("0\t7\n1\t9\n", None, {"7": 0, "9": 1}),
        ("0\t0\n1\t1\n", None, {"0": 0, "1": 1}),
        ("0\t1\n1\t0\n2\t2\n", "label,id", {"1": 0, "0": 1, "2": 2}),
        ("0\t2\n1\t0\n2\t1\n", "id,label", {"2": 0, "0": 1, "1": 2}),
    ],
)
def test_labels_that_are_numbers_do_not_confuse(reading, tmp_path: Path, text, columns, expected):
    """The column that runs from 0 without gaps is the id; where both do, the user says."""
    read_ids(reading, write(tmp_path / "ids.txt", text), "entity", columns=columns)
    assert ids(reading) == expected


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            "0\t1\n1\t0\n",
            None,
            r"both columns run from 0 without gaps: say which is which with --id-columns label,id",
        ),
        ("5\t8\n6\t9\n", None, r"neither column runs from 0 without gaps: say which"),
        ("a\tb\nc\td\n", None, r"ids.txt: neither column holds whole numbers: expected a label and an id"),
        ("a\t0\nb\t1\nc\tx\n", None, r"ids.txt:3: the id 'x' of 'c' is not a whole number from 0 on"),
        ("a\t0\nb\t-1\n", None, r"ids.txt:2: the id '-1' of 'b' is not a whole number from 0 on"),
        (
            "a\t0\nb\t1\nc\t1\n",
            None,
            r"ids.txt:3: the id 1 has the label 'c' here and 'b' on line 2: expected that an id",
        ),
        (
            "a\t0\nb\t1\na\t2\n",
            None,
            r"ids.txt:3: the label 'a' has the id 2 here and 0 on line 1: expected that a label",
        ),
        (
            "a\t0\nb\t3\nc\t1\n",
            None,
            r"ids.txt:2: the id 3 is out of range: 3 labels take the ids 0 to 2, and 2 is missing",
        ),
        (
            "a\t1\nb\t2\n",
            None,
            r"ids.txt:2: .* 0 is missing: subtract 1 from every id, here and in the triples",
        ),
        ("a\t0\nb\n", None, r"ids.txt:2: expected 2 columns .* found 1"),
        ("a\t0\n\t1\n", None, r"ids.txt:2: the .* is empty"),
        ("3\na\t0\nb\t1\n", None, r"ids.txt:1: the count says 3 lines and 2 follow"),
        ("what\tid\nb\t1\n", None, r"line 1 was taken for a header"),
    ],
)
def test_ids_that_cannot_be_are_refused(reading, tmp_path: Path, text, columns, message):
    """One message a fault, with the line and the remedy."""
    with pytest.raises(InputError, match=message):
        read_ids(reading, write(tmp_path / "ids.txt", text), "entity", columns=columns)


@given(order=st.permutations(range(7)), swap=st.booleans(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_order_of_ids_is_kept_and_any_damage_seen(shared, tmp_path_factory, order, swap, data):
    """A permutation is kept exactly; one id changed is an error, since then the ids are not 0 to 6 once each."""
    shared.connection.execute("DELETE FROM entity_ids")
    path = tmp_path_factory.getbasetemp() / "any-ids.txt"

    def text(ids: list[int]) -> str:
        pairs = [(f"e{row}", str(number)) for row, number in enumerate(ids)]
        return "".join("\t".join(reversed(pair) if swap else pair) + "\n" for pair in pairs)

    read_ids(shared, write(path, text(list(order))), "entity")
    assert ids(shared) == {f"e{row}": number for row, number in enumerate(order)}

    row = data.draw(st.integers(0, 6))
    wrong = data.draw(st.integers(-2, 20).filter(lambda number: number != order[row]))
    shared.connection.execute("DELETE FROM entity_ids")
    with pytest.raises(InputError, match=r"any-ids.txt:\d"):
        read_ids(shared, write(path, text([*order[:row], wrong, *order[row + 1 :]])), "entity")
    assert ids(shared) == {}


def stage(reading: Reading, folder: Path, triples: str, given_as=None, on_error="raise") -> str:
    """Two entities, two relations, some triples; returns what the entities were given as."""
    reading = Reading(reading.staging, reading.unpacked, on_error, lambda message: None)
    entities, relations = (
        write(folder / "e.txt", "aspirin\t1\nfever\t0\n"),
        write(folder / "r.txt", "treats\t0\nhas\t1\n"),
    )
    read_ids(reading, entities, "entity")
    read_ids(reading, relations, "relation")
    path = write(folder / "t.txt", triples)
    table = read_triples(reading, path, triple_layout(path), "train")
    answers = [labels_for_ids(reading, kind, given_as=given_as) for kind in ("entity", "relation")]
    check_labels(reading, "entity", [table], entities)
    check_labels(reading, "relation", [table], relations)
    return answers[0]


def test_triples_of_ids_become_triples_of_labels(reading, tmp_path: Path):
    """Where no name is a label and all are numbers."""
    assert stage(reading, tmp_path, "1\t0\t0\n0\t1\t1\n") == "ids"
    assert edges(reading) == [("aspirin", "treats", "fever"), ("fever", "has", "aspirin")]


def test_triples_of_labels_stay(reading, tmp_path: Path):
    """Where the id file knows them."""
    assert stage(reading, tmp_path, "aspirin\ttreats\tfever\n") == "labels"
    assert edges(reading) == [("aspirin", "treats", "fever")]


@pytest.mark.parametrize(
    ("triples", "given_as", "message"),
    [
        (
            "aspirin\ttreats\tfever\naspirn\ttreats\tfever\n",
            None,
            r"t.txt:2: the head 'aspirn' is not among the 2 labels of .*e.txt. Did you mean 'aspirin'\?",
        ),
        (
            "aspirin\ttreatz\tfever\n",
            None,
            r"t.txt:1: the relation 'treatz' is not among the 2 labels of .*r.txt. Did you mean 'treats'\?",
        ),
        (
            "aspirin\ttreats\tqqq\n",
            None,
            r"the tail 'qqq' is not among the 2 labels of .*e.txt; --on-error skip leaves such lines out$",
        ),
        ("1\t0\t0\n1\t0\t2\n", None, r"t.txt:2: the tail '2' is out of range: .*e.txt has the ids 0 to 1"),
        ("1\t0\t0\n1\t-1\t0\n", None, r"t.txt:2: the relation '-1' is out of range"),
        ("1\t0\t99999999999999999999\n", "ids", r"the tail '99999999999999999999' is out of range"),
        ("1\t0\tfever\n", "ids", r"t.txt:1: the tail 'fever' is out of range"),
        ("1\t0\t0\n", "labels", r"t.txt:1: the head '1' is not among the 2 labels"),
    ],
)
def test_a_name_without_an_id_is_named(reading, tmp_path: Path, triples, given_as, message):
    """File, line, column, value, and the nearest label."""
    with pytest.raises(InputError, match=message):
        stage(reading, tmp_path, triples, given_as)


def test_triples_without_ids_are_left_out_when_asked(reading, tmp_path: Path):
    """Each with its line and reason; the others stay."""
    stage(
        reading,
        tmp_path,
        "a\ttreats\tfever\naspirin\ttreats\tfever\nbad\naspirin\tx\tfever\n",
        on_error="skip",
    )
    assert edges(reading) == [("aspirin", "treats", "fever")]
    rows = reading.connection.execute(
        "SELECT line, problem FROM rejects WHERE file = ? ORDER BY line", [str(tmp_path / "t.txt")]
    ).fetchall()
    assert [line for line, _ in rows] == [1, 3, 4]
    assert "the relation 'x' is not among" in rows[2][1]
