"""Wrong use of commands: one clear message, exit code 1, no traceback, nothing half-written."""

import json
import shutil

import pytest

from corollary.records.run_folder import RunFolder

SMALL = ("--embedding-dim", 16, "--output-channels", 2, "--batch-size", 32, "--num-epochs", 1)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, with its graph beside it."""
    shutil.copytree(trained, tmp_path / "mine")
    return tmp_path / "mine" / "run"


@pytest.fixture
def refused(command, tmp_path):
    """The message of a command that fails and leaves the folder as it was."""

    def snapshot():
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    def run(*words):
        before = snapshot()
        message = command(*words).message
        assert snapshot() == before
        return message

    return run


@pytest.mark.parametrize(
    "words",
    [("train", "conve", "{}", "-o", "run"), ("graph", "info", "{}"), ("graph", "split", "{}", "-o", "out"), ("graph", "subset", "{}", "-o", "out", "--k-core", "2")],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_what_is_not_a_graph_folder_is_named(refused, tmp_path, words):
    """Nothing there; a file; a folder of something else."""
    (tmp_path / "file").write_text("a\tb\tc\n")
    (tmp_path / "folder").mkdir()
    for name, what in (("none", "does not exist"), ("file", "is a file"), ("folder", "has no graph.json")):
        place = tmp_path / name
        message = refused(*(word.format(place) if word == "{}" else word for word in words))
        assert message == (
            f"{place} is not a graph folder: it {what}. Make one with 'corollary graph import'."
        )


@pytest.mark.parametrize(
    "words",
    [("evaluate",), ("report",), ("predict", "--head", "a", "--relation", "b"), ("train", "--resume")],
    ids=lambda words: words[0],
)
def test_what_is_not_a_run_folder_is_named(refused, tmp_path, words):
    """For every command that takes one."""
    (tmp_path / "file").write_text("x")
    for name, what in (("none", "does not exist"), ("file", "is a file"), (".", "has no config.json")):
        message = refused(*words[:2], tmp_path / name) if words[0] == "train" else refused(words[0], tmp_path / name, *words[1:])  # fmt: skip
        assert (
            message == f"{tmp_path / name} is not a run folder: it {what}. Make one with 'corollary train'."
        )


def test_an_existing_output_is_not_written_over(refused, countries, tiny, run, tmp_path):
    """A graph folder, a run, a file."""
    (tmp_path / "a.tsv").write_text("a\tr\tb\n")
    graph = run.parent / "graph"
    exists = f"{graph} exists already: choose another place or remove it first"
    assert refused("graph", "import", tmp_path / "a.tsv", "-o", graph) == exists
    assert refused("graph", "split", countries.path, "-o", graph) == exists
    assert refused("graph", "subset", countries.path, "-o", graph, "--k-core", 2) == exists
    holds = f"{run} holds a run already: go on with --resume {run}, or choose another folder"
    assert refused("train", "conve", tiny.path, "-o", run, *SMALL) == holds
    assert refused("train", "conve", "--train", tmp_path / "a.tsv", "-o", run, *SMALL) == holds
    message = refused("train", "conve", tiny.path, "-o", tmp_path / "a.tsv", *SMALL)
    assert message == f"{tmp_path / 'a.tsv'} was not written: a part of the path is a file, not a folder"


def test_a_graph_or_loose_files(refused, tiny, tmp_path):
    """Not both, not neither, and no option for loose files is ignored beside a graph."""
    (tmp_path / "a.tsv").write_text("a\tr\tb\n")
    both = ("--train", tmp_path / "a.tsv")
    for words in ((tiny.path, *both), (), (tiny.path, "--test", tmp_path / "a.tsv"), (tiny.path, "--entity-to-id", tmp_path / "a.tsv")):  # fmt: skip
        assert refused("train", "conve", *words, "-o", tmp_path / "run") == (
            "give either a graph folder or loose triples with --train, not both and not neither"
        )
    message = refused("train", "conve", tiny.path)
    assert message == "--output-dir is missing: name the run folder to make"
    assert refused("train").startswith("nothing to do: give a learner")
    message = refused("train", "--resume", tmp_path / "run", "conve", tiny.path, "-o", tmp_path / "new")
    assert message.startswith("options of 'corollary train' do not reach 'conve'")


def test_a_wrong_line_in_loose_files_is_named(refused, tmp_path):
    """File and line; neither the run folder nor the graph in it is made."""
    (tmp_path / "a.tsv").write_text("a\tr\tb\nb\tr\n")
    message = refused("train", "conve", "--train", tmp_path / "a.tsv", "-o", tmp_path / "run", *SMALL)
    assert f"{tmp_path / 'a.tsv'}:2" in message
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_suggests_the_nearest(command, refused, tiny, tmp_path):
    """In a file, in --set, and on the command line itself, where typer exits with 2."""
    (tmp_path / "c.toml").write_text("[training]\nepoch = 3\n")
    words = ("train", "conve", tiny.path, "-o", tmp_path / "run")
    assert refused(*words, "--config", tmp_path / "c.toml") == (
        f"{tmp_path / 'c.toml'}: training: option 'epoch' is not known. Did you mean 'epochs'?"
    )
    assert refused(*words, "--set", "model.chanels=3") == (
        "options: model: option 'chanels' is not known. Did you mean 'channels'?"
    )
    assert refused(*words, "--set", "seed") == "--set seed: expected KEY=VALUE, for example training.lr=0.003"
    wrong = command(*words, "--num-epoch", 3)
    assert (wrong.code, wrong.out) == (2, "")
    assert "--num-epochs" in wrong.err
    assert "Traceback" not in wrong.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--embedding-dim", "7"), "options: model: embedding_dim = 7 as an image of 1 x 7 is too narrow for kernel = 3; nearest usable: 6 as 2 x 3"),
        (("--num-epochs", "0"), "options: training.epochs = 0: Input should be greater than 0"),
        (("--device", "tpu"), "device 'tpu' is not known: use auto, cpu, cuda, cuda:0 or mps"),
        (("--memory-limit", "4 elephants"), "memory size '4 elephants' is not understood; write 4GiB, 500MB or a number of bytes"),
        (("--config", "nowhere.toml"), "nowhere.toml: cannot be read: No such file or directory"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_wrong_value_is_explained(refused, tiny, tmp_path, words, message):
    """Before any work."""
    assert refused("train", "conve", tiny.path, "-o", tmp_path / "run", *words) == message


def test_early_stopping_without_validation_triples_is_refused_before_work(refused, tmp_path, tiny):
    """No run folder is left that could not be used again."""
    from corollary.graph.folder import derive_graph

    bare = derive_graph(tiny, tmp_path / "bare", triples={"train": tiny.triples("train")})
    words = ("-o", tmp_path / "run", "--set", "training.early_stopping=2")
    assert refused("train", "conve", bare.path, *words, *SMALL) == (
        f"early stopping needs validation triples, and {bare.path} has none: split it first"
    )


def test_a_question_must_leave_one_side_open(refused, run):
    """And cannot stand beside a file of questions."""
    one = "give --relation and one of --head and --tail: the other is what is asked for"
    assert refused("predict", run, "--head", "France") == one
    assert refused("predict", run, "--relation", "borders") == one
    assert refused("predict", run, "--head", "France", "--relation", "borders", "--tail", "Spain") == one
    message = refused("predict", run, "--queries", "q.tsv", "--head", "France")
    assert message == "give either --queries or one question, not both"


def test_an_unknown_name_suggests_the_nearest(refused, run):
    """Entity and relation."""
    message = refused("predict", run, "--head", "Frnace", "--relation", "borders")
    assert message == "entity 'Frnace' is not known. Did you mean 'France'?"
    message = refused("predict", run, "--head", "France", "--relation", "border")
    assert message == "relation 'border' is not known. Did you mean 'borders'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("France\tborders\t?\nFrance\tborders\n", ":2: expected head, relation, tail between tabs, found 2 fields"),
        ("France\tborders\tSpain\n", ":1: expected a relation and one side, the other empty or ?"),
        ("\n?\tborders\t\n", ":2: expected a relation and one side, the other empty or ?"),
        ("France\t\t?\n", ":1: expected a relation and one side, the other empty or ?"),
        ("\n\n", " holds no questions"),
        ("France\tborders\t?\nSpain\tborder\t?\n", ":2: relation 'border' is not known. Did you mean 'borders'?"),
        ("Frnace\tborders\t?\n", ":1: entity 'Frnace' is not known. Did you mean 'France'?"),
    ],
    ids=["two fields", "no side open", "both open", "no relation", "empty", "unknown relation", "unknown entity"],
)  # fmt: skip
def test_a_wrong_line_of_questions_is_named(refused, run, tmp_path, text, message):
    """File and line; no answers are written."""
    queries = tmp_path / "queries.tsv"
    queries.write_text(text)
    assert (
        refused("predict", run, "--queries", queries, "--output", tmp_path / "a.csv") == f"{queries}{message}"
    )


def test_an_output_of_no_known_kind_is_refused_before_work(refused, run, tmp_path):
    """So is a folder in place of a file."""
    question = ("predict", run, "--head", "France", "--relation", "borders", "--output")
    assert refused(*question, tmp_path / "a.xlsx") == (
        f"{tmp_path / 'a.xlsx'}: the name should end in .csv, .parquet or .json"
    )
    (tmp_path / "a.csv").mkdir()
    assert refused(*question, tmp_path / "a.csv") == (
        f"{tmp_path / 'a.csv'} was not written: there is a folder of that name: choose another name"
    )
    assert refused("evaluate", run, "--ranks", tmp_path / "a.csv") == (
        f"{tmp_path / 'a.csv'} was not written: there is a folder of that name: choose another name"
    )


def test_an_unknown_split_is_named(refused, run):
    """With the nearest."""
    message = refused("evaluate", run, "--split", "tests")
    assert message == f"{run.parent / 'graph'}: split 'tests' is not known. Did you mean 'test'?"


def test_a_checkpoint_that_is_not_there(refused, run):
    """The message lists those that are."""
    assert refused("evaluate", run, "--checkpoint", "epoch-0009") == (
        f"{run} has no checkpoint 'epoch-0009' (there: best, epoch-0001, epoch-0002, epoch-0003, final); to go on "
        f"training: corollary train --resume {run}"
    )


def test_another_graph_is_refused_by_fingerprint(refused, run, tiny):
    """For looking as for training on."""
    for words in (("evaluate", run), ("predict", run, "--head", "e01", "--relation", "likes"), ("train", "--resume", run)):  # fmt: skip
        message = refused(*words, "--graph", tiny.path)
        assert message.startswith(
            f"{tiny.path} (fingerprint {tiny.fingerprint[:12]}) is not the graph that {run} was trained on (countries, "
        )
        assert message.endswith("name the right one with --graph")


def test_a_damaged_file_is_named(refused, run):
    """One changed byte of the weights; a shortened graph; configurations that are no longer whole."""
    weights = run / "checkpoints" / "best" / "entities-0000000.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    message = refused("evaluate", run)
    assert message == f"{weights} is missing or has changed since it was written: use another checkpoint"
    edges = run.parent / "graph" / "edges" / "train.npy"
    edges.write_bytes(edges.read_bytes()[:-8])
    message = refused("predict", run, "--head", "France", "--relation", "borders")
    assert message.startswith(f"{edges} has ")
    assert message.endswith("import the graph again")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "{} is damaged: it is not JSON"),
        ("[]", "{} is damaged: it is not a table of options"),
        ('{"format": 1}', "{} is damaged: it does not say which graph was used"),
        ('{"format": 7}', "{run} has format 7; this version reads 1"),
    ],
    ids=["cut off", "list", "no graph", "another version"],
)
def test_a_damaged_configuration_is_named(refused, run, text, message):
    """Whatever is left of it."""
    (run / "config.json").write_text(text)
    expected = message.replace("{}", str(run / "config.json")).replace("{run}", str(run))
    assert refused("evaluate", run) == expected
    assert refused("train", "--resume", run) == expected


def test_an_option_lost_from_the_configuration_is_named(refused, run):
    """A key of another version is not passed over."""
    recorded = json.loads((run / "config.json").read_text())
    del recorded["seal"]  # a changed option beside it would be refused for being changed
    recorded["training"]["epochz"] = 3
    (run / "config.json").write_text(json.dumps(recorded))
    assert refused("evaluate", run) == (
        f"{run / 'config.json'}: training: option 'epochz' is not known. Did you mean 'epochs'?"
    )


def test_damaged_figures_are_named(refused, command, run):
    """The message says how to make them again."""
    (run / "evaluation.json").write_text('{"mrr": 1}')
    from corollary.errors import RunDamaged
    from corollary.runs.run import Run

    with pytest.raises(RunDamaged) as caught:
        _ = Run.open(run).evaluation
    assert str(caught.value) == (
        f"{run / 'evaluation.json'} is damaged: write it again with corollary evaluate {run}"
    )
    assert command("evaluate", run).code == 0
    assert Run.open(run).evaluation is not None


def test_a_run_in_use_is_left_alone(refused, run):
    """A second process is refused, with the number of the first."""
    import os

    with RunFolder.open(run).lock():
        message = refused("train", "--resume", run)
    assert message == (
        f"{run} is being written by process {os.getpid()}: wait for it or choose another folder"
    )
