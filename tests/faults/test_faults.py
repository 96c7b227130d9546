"""The short form of `random_kills.py`: some kills of every command, and nothing is lost."""

import pytest

from tests.faults.runner import Runner, compared, wrong
from tests.faults.scenes import SCENES, TRAINING, leftovers, write_files

SHORT = {"graph import": 5, "train": 5, "evaluate": 3, "export parquet": 2, "runs import": 3, "report": 2}


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("kills") / "work", seed=0)


@pytest.mark.parametrize(
    ("scene", "kills"),
    [
        pytest.param(
            scene, SHORT.get(scene.name, 3), marks=[pytest.mark.slow] if scene.name not in SHORT else []
        )
        for scene in SCENES
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_killed_command_loses_nothing(runner, scene, kills):
    """SIGKILL at random moments, calls and changes of the disk: what stood is whole, nothing half-written bears a name,
    the next run ends with the bytes of an unbroken one and clears up."""
    tally = runner.run(scene, kills)
    assert tally.violations == []
    assert tally.kills == kills


def test_a_start_that_was_killed_before_there_was_a_run_is_started_again(command, ok, tmp_path):
    """Its graph stands there without a run: the same files go on with it, other ones are refused, it is not removed."""
    write_files(tmp_path)
    run, files = tmp_path / "run", ("--train", tmp_path / "good.tsv", "--test", tmp_path / "test.tsv")
    ok("graph", "import", *files, "-o", run / "graph")
    made = (run / "graph" / "graph.json").stat().st_ino
    other = ("--train", tmp_path / "valid.tsv", "--test", tmp_path / "test.tsv")
    message = command("train", "conve", *other, "-o", run, *TRAINING).message
    assert message == f"{run / 'graph'} exists already: choose another place or remove it first"
    ok("train", "conve", *files, "-o", run, *TRAINING)
    assert (run / "graph" / "graph.json").stat().st_ino == made
    assert leftovers(run) == []


def test_the_runner_sees_what_is_wrong(runner):
    """A file written in place is found half-written, what it stood for is missed, leftovers are named."""
    scene = next(scene for scene in SCENES if scene.name == "export word2vec")
    _, expected, files = runner.unbroken(scene)
    folder = runner.folder / "seen"
    folder.mkdir()
    (folder / "v.txt").write_text("60 12\ne0")
    (folder / ".partial-v.txt-01234567").mkdir()
    assert wrong(scene, folder, {"good.tsv": "was there"}, files) == [
        "good.tsv is not what it was",
        "v.txt is half-written",
    ]
    found = compared(scene, folder, expected)
    assert found == [".partial-v.txt-01234567 is left over", "the result is another one: v.txt"]
