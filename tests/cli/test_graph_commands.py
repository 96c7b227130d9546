"""`corollary graph`: import, info, split, subset, datasets, each as a table and as JSON."""

import pytest

from corollary.graph.folder import Graph

TRAIN = "anna\tlikes\tbob\nbob\tlikes\tcarl\ncarl\tknows\tanna\nanna\tknows\tdora\n"


def test_loose_files_become_a_graph_folder(ok, tmp_path):
    """Splits as given; what each file was taken for is said on standard error."""
    (tmp_path / "a.tsv").write_text(TRAIN)
    (tmp_path / "b.tsv").write_text("dora\tlikes\tanna\n")
    made = ok(
        "graph", "import", "--train", tmp_path / "a.tsv", "--test", tmp_path / "b.tsv", "-o", tmp_path / "g"
    )
    assert made.out == f"{tmp_path / 'g'}: 4 entities, 2 relations, triples: train 4, test 1\n"
    assert "a.tsv" in made.err
    assert list(Graph.open(tmp_path / "g").entities.labels) == ["anna", "bob", "carl", "dora"]


def test_a_dataset_folder_is_imported_with_its_splits(ok, tmp_path):
    """A folder with train, valid and test, described as JSON."""
    (tmp_path / "data").mkdir()
    for split, rows in (("train", TRAIN), ("valid", "bob\tknows\tdora\n"), ("test", "dora\tlikes\tanna\n")):
        (tmp_path / "data" / f"{split}.txt").write_text(rows)
    made = ok("graph", "import", tmp_path / "data", "-o", tmp_path / "g", "--json").json()
    assert made["path"] == str(tmp_path / "g")
    assert made["num_triples"] == {"train": 4, "valid": 1, "test": 1}
    assert made["fingerprint"] == Graph.open(tmp_path / "g").fingerprint


def test_a_dataset_is_had_by_name_then_split(ok, tmp_path):
    """The embedded graph; the split shares its vocabulary and repeats with its seed."""
    whole = ok("graph", "import", "--dataset", "countries", "-o", tmp_path / "g", "--json").json()
    assert whole["name"] == "countries"
    splits = [
        ok("graph", "split", tmp_path / "g", "-o", tmp_path / name, "--test", "0.1", "--seed", 7, "--json").json()
        for name in ("one", "two")
    ]  # fmt: skip
    assert splits[0]["fingerprint"] == splits[1]["fingerprint"] != whole["fingerprint"]
    assert splits[0]["vocabulary_fingerprint"] == whole["vocabulary_fingerprint"]
    assert sum(splits[0]["num_triples"].values()) == whole["num_triples"]["train"]


def test_info_prints_counts_relations_and_leakage(ok, countries):
    """Each relation is in the table; JSON holds the same counts."""
    table = ok("graph", "info", countries.path, "--verify")
    assert f"countries: {countries.num_entities:,} entities, {countries.num_relations} relations" in table.out
    assert "of 300 triples have a twin in train" in table.out
    assert all(label in table.out for label in countries.relations.labels if len(label) < 12)
    assert "every file is as it was written" in table.err
    report = ok("graph", "info", countries.path, "--json").json()
    assert report["num_entities"] == countries.num_entities
    assert report["triples"] == countries.info.num_triples


def test_subset_keeps_the_vocabulary_or_numbers_anew(ok, countries, tmp_path):
    """`--compact` gives dense ids to what is left; filters may be repeated."""
    wanted = ("--keep-predicates", "borders", "--keep-predicates", "capital")
    ok("graph", "subset", countries.path, "-o", tmp_path / "a", *wanted)
    ok("graph", "subset", countries.path, "-o", tmp_path / "b", *wanted, "--compact")
    same, dense = Graph.open(tmp_path / "a"), Graph.open(tmp_path / "b")
    assert same.info.vocabulary_fingerprint == countries.info.vocabulary_fingerprint
    assert set(dense.relations.labels) == {"borders", "capital"}
    assert same.info.num_triples == dense.info.num_triples
    assert dense.num_entities < same.num_entities


def test_a_filter_of_zero_is_not_taken_for_none(ok, command, countries, tmp_path):
    """`--hops 0` keeps the given nodes alone; `--k-core 0` makes no sense and says so."""
    around = ("--around", "France", "--around", "Spain", "--compact")
    made = ok("graph", "subset", countries.path, "-o", tmp_path / "a", *around, "--hops", 0, "--json")
    assert made.json()["num_entities"] == 2
    message = command("graph", "subset", countries.path, "-o", tmp_path / "b", "--k-core", 0).message
    assert message == "graph subset: k_core = 0: Input should be greater than 0"


def test_datasets_are_listed(ok):
    """By name, with licence and where they are."""
    listed = {row["name"]: row for row in ok("graph", "datasets", "--json").json()}
    assert listed["countries"]["found"] == "embedded"
    assert all(row["licence"] for row in listed.values())
    assert "countries" in ok("graph", "datasets").out


@pytest.mark.parametrize(
    "option", [("--on-error", "skip"), ("--keep-predicates", "borders"), ("--name", "x")]
)
def test_no_option_is_ignored_beside_dataset(command, tmp_path, option):
    """What cannot be followed is refused."""
    found = command("graph", "import", "--dataset", "countries", *option, "-o", tmp_path / "g")
    assert found.message.startswith("--dataset stands alone")
    assert not (tmp_path / "g").exists()
