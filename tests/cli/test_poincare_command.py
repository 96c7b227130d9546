"""`corollary train poincare`, `analyze-taxonomy`, and taxonomy options of other commands."""

import json

import pytest

ROWS = ["child\tparent\trank\tname", "0\t\troot\tlife"]
RANKS = ["root", "phylum", "class", "genus", "species"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """121 taxa of five ranks."""
    depth, rows = [0], list(ROWS)
    for node in range(1, 121):
        depth.append(depth[(node - 1) // 3] + 1)
        rows.append(f"{node}\t{(node - 1) // 3}\t{RANKS[depth[node]]}\t{RANKS[depth[node]]} {node}")
    path = tmp_path_factory.mktemp("files") / "life.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def run(ok, table, tmp_path):
    """Made from the file alone, in the older script's words."""
    ok(
        "train", "poincare", "--data", table, "--checkpoint", tmp_path / "run", "--dim", 3, "--epochs", 2,
        "--batch_size", 64, "--n-negatives", 8, "--gpu", -1, "--lr", 0.1,
    )  # fmt: skip
    return tmp_path / "run"


def test_the_older_scripts_options_mean_what_they_did(ok, table, tmp_path):
    """Margin and lambda choose the hinge loss and the start by depth."""
    ok(
        "train", "poincare", "--data", table, "-o", tmp_path / "run", "--margin", 0.3, "--lambda-reg", 0.02,
        "--n-negatives", 50, "--batch-size", 64, "--epochs", 1, "--dim", 4,
    )  # fmt: skip
    model = json.loads((tmp_path / "run" / "config.json").read_text())["model"]
    assert (model["loss"], model["margin"], model["lambda_reg"]) == ("hinge", 0.3, 0.02)
    assert model["placement"]["name"] == "depth"
    assert (model["negatives"]["count"], model["batch_size"], model["dim"]) == (50, 64, 4)


def test_early_stopping_withholds_pairs_and_says_so(ok, table, tmp_path):
    """2 % unless told otherwise."""
    done = ok(
        "train",
        "poincare",
        "--data",
        table,
        "-o",
        tmp_path / "run",
        "--early-stopping",
        1,
        "--epochs",
        3,
        "--dim",
        3,
    )
    assert "2 % of the ancestor pairs are withheld to stop by (--held-out)" in done.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"]["held_out"], config["training"]["early_stopping"]) == (0.02, 1)


def test_a_graph_folder_can_be_had_first(ok, table, tmp_path):
    """`graph import --taxonomy` with a root and ranks, then the plan, then training on it with --relation."""
    graph = tmp_path / "graph"
    ok("graph", "import", "--taxonomy", table, "-o", graph, "--root", "phylum 1", "--ranks", "class,species")
    plan = ok("plan", "poincare", graph, "--dim", 3, "--json").json()
    assert plan["total"] == sum(plan["parts"].values())
    done = ok(
        "train",
        "poincare",
        graph,
        "-o",
        tmp_path / "run",
        "--relation",
        "is a",
        "--dim",
        3,
        "--epochs",
        1,
        "--json",
    )
    assert done.json()["figures"]["map"] > 0.5
    ok("graph", "closure", graph, "-o", tmp_path / "pairs.tsv")
    assert (tmp_path / "pairs.tsv").read_text().startswith("descendant\tancestor\n")


def test_the_analysis_prints_what_it_writes(ok, run):
    """A table, JSON, and the same for `evaluate`."""
    done = ok("analyze-taxonomy", run, "--sample", 50, "--ranks", "phylum,class")
    assert "reconstruction map" in done.out
    for column in ("run", "untrained", "random", "euclidean", "tree"):
        assert column in done.out
    found = ok("analyze-taxonomy", run, "--controls", "none", "--json").json()
    assert list(found["figures"]) == ["run"]
    assert json.loads((run / "taxonomy.json").read_text())["figures"] == found["figures"]
    again = ok("evaluate", run, "--json").json()
    assert again["figures"]["run"] == found["figures"]["run"]


def test_looking_at_it(ok, run, tmp_path):
    """Neighbours, ancestors, exports, the disk."""
    assert len(ok("analyze-taxonomy", run, "--neighbours", "species 120", "--top-k", 3, "--json").json()) == 3
    found = ok("analyze-taxonomy", run, "--ancestors", "120", "--json").json()
    assert {"label", "name", "score", "depth", "true"} == set(found[0])
    assert "120" not in {line["label"] for line in found}
    ok("analyze-taxonomy", run, "--export", tmp_path / "e.txt", "--checkpoint", "best")
    ok("analyze-taxonomy", run, "--disk", tmp_path / "d.svg", "--ranks", "phylum")
    assert (tmp_path / "d.svg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "poincare", "-o", "r"], "give either a graph folder or taxonomy files with --data"),
        (
            ["train", "poincare", "g", "--data", "x", "-o", "r"],
            "give either a graph folder or taxonomy files",
        ),
        (["train", "poincare", "g"], "--output-dir is missing: name the run folder to make"),
        (
            ["train", "poincare", "g", "-o", "r", "--root", "x"],
            "--root goes with --data: cut a graph folder with",
        ),
        (
            ["train", "poincare", "g", "-o", "r", "--gpu", "-1", "--device", "cpu"],
            "--gpu and --device say the same",
        ),
        (
            ["train", "poincare", "g", "-o", "r", "--loss", "softmax", "--margin", "1"],
            "are of the hinge loss",
        ),
        (["train", "poincare", "--data", "none.tsv", "-o", "r"], "none.tsv does not exist"),
        (["train", "poincare", __file__, "-o", "r"], "give taxonomy files with --data"),
        (["graph", "import", "x", "-o", "g", "--root", "x"], "go with --taxonomy"),
        (["graph", "import", "--taxonomy", "x", "-o", "g", "--header"], "--taxonomy takes files"),
    ],
)
def test_wrong_use_is_named(command, tmp_path, monkeypatch, words, message):
    """One message, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    assert message in command(*words).message
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_of_the_analysis_is_named(command, run, trained):
    """Two questions at once; options of the whole analysis beside one; a run of another learner; wrong names."""
    for words, message in (
        (["--neighbours", "1", "--ancestors", "2"], "--neighbours and --ancestors are asked one at a time"),
        (["--neighbours", "1", "--sample", "5"], "--sample and --controls are of the whole analysis"),
        (["--neighbours", "species 1200"], "Did you mean 'species 120'"),
        (["--controls", "tree,forest"], "control 'forest'"),
        (["--ranks", "fylum"], "Did you mean 'phylum'"),
        (["--export", "x.bin"], "the suffix says the format"),
        (["--disk", "x.bmp"], "the suffix says the format: .png, .svg, .pdf"),
        (["--memory-limit", "20MiB"], "measuring poincare on run needs at least"),
    ):
        assert message in command("analyze-taxonomy", run, *words).message
    for words in (["--sample", "0"], ["--neighbours", "1", "--top-k", "0"]):
        assert command("analyze-taxonomy", run, *words).code == 2
    assert "is a run of conve" in command("analyze-taxonomy", trained / "run").message
    assert "ranks no facts" in command("evaluate", run, "--split", "valid").message
    assert "ranks no facts" in command("evaluate", run, "--on", run).message
    assert "ask for one node" in command("predict", run, "--head", "1", "--relation", "is a").message
    assert "Did you mean 'species 120'" in command("predict", run, "--head", "species 1200").message


def test_predict_tells_ancestors_and_neighbours(ok, run):
    """The same nodes as analyze-taxonomy gives one at a time."""
    found = ok("predict", run, "--head", "species 120", "-k", 4, "--json").json()
    for part in ("ancestors", "neighbours"):
        assert (
            found[part]
            == ok("analyze-taxonomy", run, f"--{part}", "species 120", "--top-k", 4, "--json").json()
        )
    assert "neighbours of species 120" in ok("predict", run, "--head", "species 120").out


def test_a_failed_import_leaves_no_run(command, tmp_path):
    """A cycle in the file: the message prints it, the run folder is not there."""
    (tmp_path / "t.txt").write_text("a b\nb a\n")
    message = command("train", "poincare", "--data", tmp_path / "t.txt", "-o", tmp_path / "run").message
    assert "a node is its own ancestor: a > b > a" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.txt"]
