"""Files of taxonomies become the same nodes and links, whatever their format; what is wrong is named by file and line."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pandas as pd
import pytest
import zstandard

from corollary.errors import InputError
from corollary.graph.reading.ncbi import is_dump, read_dump
from corollary.graph.reading.taxonomies import read_obo, read_pickle, read_table

TABLE = "child\tparent\trank\tname\n1\t\tno rank\troot\n2\t1\tphylum\tChordata\n3\t2\tclass\tMammalia\n"
LINKS = [("2", "1"), ("3", "2")]


@pytest.mark.parametrize("form", ["tsv", "csv", "spaces", "gz", "zst", "bom", "parquet", "self"])
def test_a_table_is_read_in_every_form(tmp_path, form):
    """Tabs, commas, compression, a byte order mark, Parquet; the root with an empty parent or as its own."""
    path = tmp_path / {"parquet": "t.parquet", "csv": "t.csv", "gz": "t.tsv.gz"}.get(form, "t.tsv")
    if form == "csv":
        path.write_text(TABLE.replace("\t", ",").replace("Chordata", '"Chordata, all"'))
    elif form == "gz":
        path.write_bytes(gzip.compress(TABLE.encode()))
    elif form == "zst":
        path.write_bytes(zstandard.compress(TABLE.encode()))
    elif form == "bom":
        path.write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())
    elif form == "parquet":
        _parquet(path)
    elif form == "self":
        path.write_text(TABLE.replace("1\t\t", "1\t1\t"))
    else:
        path.write_text(TABLE)
    nodes = read_table(path)
    assert nodes.links == LINKS
    assert nodes.described == {"1", "2", "3"}
    assert nodes.ranks == {"1": "no rank", "2": "phylum", "3": "class"}
    assert nodes.names["3"] == "Mammalia"


def _parquet(path):
    import duckdb

    frame = pd.read_csv(io.StringIO(TABLE), sep="\t")  # the parents become 1.0 and 2.0 beside the root's gap
    assert frame["parent"].dtype == float
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        connection.execute(f"COPY frame TO '{path}' (FORMAT parquet)")


@pytest.mark.parametrize(
    "header", ["id,parent_id", "taxid,parent_taxid", "taxonID,parentNameUsageID", "#child,Parent"]
)
def test_columns_go_by_their_usual_names(tmp_path, header):
    """In any case."""
    (tmp_path / "t.csv").write_text(f"{header},taxonRank,scientificName\n5,4,species,A b\n4,,genus,A\n")
    nodes = read_table(tmp_path / "t.csv")
    assert nodes.links == [("5", "4")]
    assert nodes.ranks["5"] == "species"
    assert nodes.names["5"] == "A b"


@pytest.mark.parametrize(
    "text", ["b\ta\nc\tb\n", "b a\nc b\n", "b,a\nc,b\n", "b\tis_a\ta\nc\tis_a\tb\n", "b isa a\nc isa b\n"]
)
def test_links_without_a_header(tmp_path, text):
    """Child and parent, with is_a between them or not; no node has a row of its own then."""
    (tmp_path / "links.txt").write_text(text)
    nodes = read_table(tmp_path / "links.txt")
    assert nodes.links == [("b", "a"), ("c", "b")]
    assert nodes.described == set()


def test_ids_beyond_32_bits_are_kept_exactly(tmp_path):
    """Labels are text: nothing is cut off."""
    (tmp_path / "t.tsv").write_text(
        "child\tparent\n9007199254740993\t18446744073709551615\n18446744073709551615\t\n"
    )
    assert read_table(tmp_path / "t.tsv").links == [("9007199254740993", "18446744073709551615")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.tsv is empty: expected rows of child and parent"),
        ("child\tname\n1\tx\n", r"t\.tsv:1: no column for the parent among child, name: name it parent"),
        (
            "mother\tparent\n1\t2\n",
            r"t\.tsv:1: no column for the child among mother, parent: name it child or id",
        ),
        ("child\tparent\n1\t2\t3\n", r"t\.tsv:2: 3 columns where the header has 2"),
        ("child\tparent\n\t2\n", r"t\.tsv:2: the child is empty"),
        ("child\tparent\n", r"t\.tsv has a header and no row"),
        (
            "child\tparent\tname\n1\t\ta\n2\t1\tb\n2\t1\tc\n",
            r"t\.tsv:4: '2' was 'b' before and is 'c' here: ids must be unique",
        ),
        ("a\tb\nc\n", r"t\.tsv:2: expected child and parent \(or child, is_a, parent\), found 1 columns"),
        ("a\tb\tc\n", r"t\.tsv:1: expected child and parent .* a table needs a header with child and parent"),
    ],
)
def test_a_wrong_table_is_named_by_line(tmp_path, text, message):
    """File, line, what was expected."""
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "t.tsv")


def test_names_may_repeat(tmp_path):
    """Only ids must be unique."""
    (tmp_path / "t.tsv").write_text("child\tparent\tname\n1\t\tsame\n2\t1\tsame\n")
    assert set(read_table(tmp_path / "t.tsv").names.values()) == {"same"}


def test_damaged_files_are_named(tmp_path):
    """A gzip file cut short, bytes that are no UTF-8, a Parquet file that is none."""
    whole = gzip.compress(("child\tparent\n" + "".join(f"{n}\t{n - 1}\n" for n in range(1, 9999))).encode())
    (tmp_path / "cut.gz").write_bytes(whole[:-2000])
    with pytest.raises(InputError, match=r"cut\.gz is cut short or damaged: get it again"):
        read_table(tmp_path / "cut.gz")
    (tmp_path / "latin").write_bytes("child\tparent\nÄ\t1\n".encode("latin-1"))
    with pytest.raises(InputError, match="latin is not UTF-8"):
        read_table(tmp_path / "latin")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"x\.parquet is not a Parquet file"):
        read_table(tmp_path / "x.parquet")


OBO = """format-version: 1.2

[Term]
id: GO:1
name: process
namespace: biological

[Term]
id: GO:2
name: growth
alt_id: GO:9
is_a: GO:1 {source="x"} ! process

[Term]
id: GO:3
name: gone
is_obsolete: true

[Typedef]
id: part_of
is_a: GO:1
"""


def test_obo_terms(tmp_path):
    """Names, is_a without comments, old ids; obsolete terms and other stanzas are left out."""
    (tmp_path / "x.obo").write_text(OBO)
    nodes = read_obo(tmp_path / "x.obo")
    assert nodes.links == [("GO:2", "GO:1")]
    assert nodes.names == {"GO:1": "process", "GO:2": "growth"}
    assert nodes.ranks["GO:1"] == "biological"
    assert nodes.merged == {"GO:9": "GO:2"}
    for text, message in (
        ("[Term]\nname: x\n", r"bad\.obo:1: this \[Term\] has no id"),
        (OBO + "\n[Term]\nid: GO:1\n", r"bad\.obo:\d\d: term 'GO:1' stands there twice"),
        ("nothing\n", "has no \\[Term\\]"),
    ):
        (tmp_path / "bad.obo").write_text(text)
        with pytest.raises(InputError, match=message):
            read_obo(tmp_path / "bad.obo")


DUMP = {
    "nodes.dmp": "1\t|\t1\t|\tno rank\t|\t\t|\n2\t|\t1\t|\tsuperkingdom\t|\t\t|\n7\t|\t2\t|\tgenus\t|\t\t|\n",
    "names.dmp": "1\t|\troot\t|\t\t|\tscientific name\t|\n2\t|\tBacteria\t|\t\t|\tscientific name\t|\n"
    "2\t|\teubacteria\t|\t\t|\tgenbank common name\t|\n",
    "merged.dmp": "12\t|\t7\t|\n",
}


def dump(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)
    with tarfile.open(folder / "taxdump.tar.gz", "w:gz") as archive:
        for name in files:
            archive.add(folder / name, name)


@pytest.mark.parametrize("form", [".", "nodes.dmp", "taxdump.tar.gz"])
def test_ncbi_dumps(tmp_path, form):
    """A folder, its nodes.dmp or the archive: parents, ranks, scientific names, merged ids."""
    dump(tmp_path, DUMP)
    assert is_dump(tmp_path / form)
    nodes = read_dump(tmp_path / form)
    assert nodes.links == [("2", "1"), ("7", "2")]
    assert nodes.names == {"1": "root", "2": "Bacteria"}
    assert nodes.ranks["7"] == "genus"
    assert nodes.merged == {"12": "7"}


def test_ncbi_dumps_that_are_wrong(tmp_path):
    """A cut archive, one without nodes.dmp, a bad line, a taxid twice, nothing at all."""
    dump(tmp_path, DUMP)
    whole = (tmp_path / "taxdump.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"cut\.tar\.gz is no archive, or is cut short"):
        read_dump(tmp_path / "cut.tar.gz")
    other = tmp_path / "other"
    other.mkdir()
    dump(other, {"names.dmp": DUMP["names.dmp"]})
    with pytest.raises(InputError, match=r"holds no nodes\.dmp"):
        read_dump(other / "taxdump.tar.gz")
    for text, message in (
        ("1\t|\tone\t|\tx\t|\n", r"nodes\.dmp line 1: expected taxid, parent and rank"),
        (DUMP["nodes.dmp"] + "2\t|\t1\t|\tx\t|\n", r"nodes\.dmp line 4: taxid 2 stands there twice"),
        ("", r"nodes\.dmp is empty"),
    ):
        (tmp_path / "nodes.dmp").write_text(text)
        with pytest.raises(InputError, match=message):
            read_dump(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        [("b", "a"), ("c", "b")],
        [["b", "a"], ["c", "b"]],
        (("b", "a"), ("c", "b")),
        np.array([["b", "a"], ["c", "b"]]),
        {"pairs": [("b", "a"), ("c", "b")], "count": 2},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickled_pairs(tmp_path, value, protocol):
    """Lists, tuples, arrays, and a dict that holds one of them."""
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(value, protocol))
    assert read_pickle(tmp_path / "p.pkl").links == [("b", "a"), ("c", "b")]


def test_pickled_numbers(tmp_path):
    """Numbers of any width become labels."""
    (tmp_path / "p.pkl").write_bytes(pickle.dumps([(2**40, np.int64(1)), (3, 1)]))
    assert read_pickle(tmp_path / "p.pkl").links == [(str(2**40), "1"), ("3", "1")]


class Sly:
    """Runs something where it is unpickled carelessly."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


class Builtin:
    """The same by way of numpy."""

    def __reduce__(self):
        return (np.load, ("x",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([Sly()]), "asks for builtins.exec, which is not opened: a pickle may run code"),
        (pickle.dumps([Builtin()]), "asks for numpy"),
        (pickle.dumps(np.array([Sly()], object)), "asks for builtins.exec"),
        (pickle.dumps({1, 2}), "is not a list of pairs"),
        (pickle.dumps({("a", "b")}), "is not a list of pairs"),
        (pickle.dumps([{"a", "b"}]), "is not a list of pairs"),
        (pickle.dumps([(1.5, 2.5)]), "is not a list of pairs"),
        (pickle.dumps([(1, 2, 3)]), "is not a list of pairs"),
        (pickle.dumps(7), "is not a list of pairs"),
        (b"no pickle", "is not a pickle of pairs"),
        (pickle.dumps([("a", "b")])[:-4], "is not a pickle of pairs"),
    ],
)
def test_a_pickle_runs_nothing(tmp_path, content, message):
    """Whatever is no array, number, string, list, tuple or dict is refused by name."""
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_pickle(tmp_path / "p.pkl")
