"""Two processes at the same place: one wins or both succeed, the other gets one message, and nothing is lost."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from corollary.graph.folder import Graph
from corollary.records.run_folder import RunFolder
from tests.faults.lives import forks, live
from tests.faults.scenes import TRAINING, leftovers, run_is_wrong, run_result, write_files

REFUSED = (
    "exists already: choose another place or remove it first",
    "holds a run already: go on with --resume",
    "is being written by process",
)


@pytest.fixture(scope="module")
def processes():
    return forks()


@pytest.fixture
def folder(tmp_path, trained):
    write_files(tmp_path)
    shutil.copytree(trained / "graph", tmp_path / "graph")
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path


def at_once(processes, tmp_path, *commands):
    """Commands that start at the same moment, each in its process."""
    with ThreadPoolExecutor(len(commands)) as threads:
        logs = [tmp_path / f"log-{number}.txt" for number in range(len(commands))]
        return list(threads.map(lambda words, log: live(processes, words, log), commands, logs))


def one_wins(ends):
    """One succeeds, the others are refused in one message."""
    assert sorted(end.code for end in ends) == [0] + [1] * (len(ends) - 1), [end.said for end in ends]
    for end in ends:
        if end.code:
            message = end.said.strip().splitlines()[-1]
            assert any(words in message for words in REFUSED), message
            assert "Traceback" not in end.said


def test_two_imports_to_one_output(processes, folder):
    """The graph is one of the two, as a whole."""
    words = ("graph", "import", "--train", folder / "good.tsv", "-o", folder / "made")
    other = ("graph", "import", "--train", folder / "valid.tsv", "-o", folder / "made")
    ends = at_once(processes, folder, words, other, words)
    one_wins(ends)
    made = Graph.open(folder / "made")
    made.verify()
    assert made.info.num_triples["train"] == (30 if ends[1].code == 0 else 840)
    assert leftovers(folder) == []


def test_two_trainings_into_one_folder(processes, folder):
    """The configuration is the winner's, and so are the weights."""
    words = [
        ("train", "conve", folder / "graph", "-o", folder / "new", *TRAINING, "--seed", seed)
        for seed in (1, 2)
    ]
    ends = at_once(processes, folder, *words)
    one_wins(ends)
    winner = 1 + [end.code for end in ends].index(0)
    assert RunFolder.open(folder / "new").config["seed"] == winner
    alone = live(
        processes, [folder / "alone" if w == folder / "new" else w for w in words[winner - 1]], folder / "log"
    )
    assert alone.code == 0
    assert run_result(folder / "new") == run_result(folder / "alone")


def test_two_trainings_on_loose_files_into_one_folder(processes, folder):
    """The import is part of the start: the loser takes nothing of it away."""
    words = (
        "train",
        "conve",
        "--train",
        folder / "good.tsv",
        "--test",
        folder / "test.tsv",
        "-o",
        folder / "new",
    )
    one_wins(at_once(processes, folder, (*words, *TRAINING), (*words, *TRAINING)))
    assert run_is_wrong(folder / "new") == []
    assert leftovers(folder) == []


@pytest.mark.slow
def test_two_resumes(processes, folder):
    """One goes on; the other is refused, or finds the work done."""
    words = ("train", "conve", folder / "graph", "-o", folder / "new", *TRAINING)
    assert live(processes, words, folder / "log").code == 0
    expected = run_result(folder / "new")
    shutil.rmtree(folder / "new" / "checkpoints" / "epoch-0003")
    shutil.rmtree(folder / "new" / "checkpoints" / "final")
    ends = at_once(processes, folder, *[("train", "--resume", folder / "new")] * 2)
    if {end.code for end in ends} != {0}:
        one_wins(ends)
    assert run_result(folder / "new") == expected
    assert leftovers(folder) == []


@pytest.mark.slow
def test_training_and_evaluating_at_once(processes, folder):
    """While best/ is chosen anew, whoever evaluates gets a whole checkpoint, or is told that there is none yet."""
    shutil.rmtree(folder / "run")
    words = ("train", "conve", folder / "graph", "-o", folder / "run", *TRAINING, "--num-epochs", "4")
    looks = [
        ("evaluate", folder / "run", "--ranks", folder / f"ranks-{number}.parquet") for number in range(3)
    ]
    trained, *looked = at_once(processes, folder, words, *looks)
    assert trained.code == 0, trained.said
    for end in looked:
        if end.code:
            message = end.said.strip().splitlines()[-1]
            assert "has no checkpoint 'best'" in message or "is not a run folder" in message, end.said
    assert run_is_wrong(folder / "run") == []
    assert leftovers(folder) == []


def test_evaluating_twice_at_once(processes, folder):
    """Both succeed, and what stands there in the end is whole."""
    ends = at_once(processes, folder, *[("evaluate", folder / "run", "--ranks", folder / "r.parquet")] * 3)
    assert [end.code for end in ends] == [0, 0, 0], [end.said for end in ends]
    assert run_is_wrong(folder / "run") == []
    assert (folder / "r.parquet").exists()
    assert leftovers(folder) == []


@pytest.mark.slow
def test_a_writer_that_clears_up_leaves_the_living_alone(processes, folder):
    """Resuming takes the lock and clears the folder while somebody exports into it and evaluates."""
    into = folder / "run" / "vectors.parquet"
    ends = at_once(
        processes,
        folder,
        ("train", "--resume", folder / "run"),
        ("export", folder / "run", "--format", "parquet", "-o", into),
        ("evaluate", folder / "run", "--ranks", folder / "run" / "ranks.parquet"),
    )
    assert [end.code for end in ends] == [0, 0, 0], [end.said for end in ends]
    assert into.exists()
    assert leftovers(folder) == []
