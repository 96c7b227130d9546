"""A run that was killed, however often and wherever, ends with the bytes of an unbroken one."""

import random
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from corollary.records.run_folder import RunFolder
from tests.training.lives import live, record

EVERYTHING = {
    "epochs": 4,
    "lr": 0.01,
    "accumulation": 2,
    "clip_norm": 1.0,
    "average_decay": 0.9,
    "schedule": {"name": "plateau", "patience": 1, "factor": 0.5, "warmup": 0.1},
    "validate_every": 1,
    "num_workers": 1,
    "checkpoint_frequency": 1,
    "checkpoint_minutes": 1e-9,
}
PLAIN = {"epochs": 5, "optimizer": {"name": "adagrad"}, "num_workers": 0, "checkpoint_minutes": 1e-9}


@pytest.fixture(scope="session")
def processes():
    """A server that has imported everything and forks a process for each life."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.training.lives"])
    return context


class Life:
    """One process of a training, and what it says."""

    def __init__(self, processes, path: Path, graph, training, last_call=None):
        self.said, sending = processes.Pipe(duplex=False)
        self.process = processes.Process(target=live, args=(path, graph.path, training, sending, last_call))
        self.process.start()
        sending.close()

    def listen(self):
        """The next thing it says, or None when it has gone."""
        try:
            return self.said.recv()
        except EOFError:
            return None

    def end(self):
        """Its last words, once it has gone."""
        last = None
        while (word := self.listen()) is not None:
            last = word
        self.process.join()
        return last


@pytest.fixture(scope="session")
def unbroken(processes, tiny, tmp_path_factory):
    """Records of runs that nothing disturbed, with the number of Python calls they took."""
    known = {}

    def run(training):
        key = repr(training)
        if key not in known:
            path = tmp_path_factory.mktemp("unbroken") / "run"
            life = Life(processes, path, tiny, training)
            known[key] = (life.end()["calls"], record(path))
            assert life.process.exitcode == 0
        return known[key]

    return run


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("training", "seed"),
    [
        (EVERYTHING, 0),
        slow(PLAIN, 1),
        *(slow(EVERYTHING, seed) for seed in range(2, 6)),
        *(slow({**PLAIN, "num_workers": 3}, seed) for seed in range(6, 10)),
    ],
    ids=lambda value: (
        value if isinstance(value, int) else value.get("optimizer", {}).get("name", "everything")
    ),
)
def test_killed_at_random_calls_it_ends_with_the_same_bytes(
    processes, unbroken, tiny, tmp_path, training, seed
):
    """SIGKILL at a random Python call, again and again: in a step, in a checkpoint, in clearing up, in resuming."""
    calls, expected = unbroken(training)
    rng, path, kills = random.Random(seed), tmp_path / "run", 0
    while True:
        life = Life(processes, path, tiny, training, last_call=rng.randrange(1, calls // 3))
        last_words = life.end()
        if life.process.exitcode == 0:
            break
        assert life.process.exitcode == -signal.SIGKILL
        kills += 1
        assert kills < 100, "no progress"
    assert "calls" in last_words
    assert kills >= 2
    assert record(path) == expected


@pytest.mark.parametrize("seed", [0, slow(1), slow(2)])
def test_killed_from_outside_it_ends_with_the_same_bytes(processes, unbroken, tiny, tmp_path, seed):
    """SIGKILL while the process runs on: wherever it is, in compiled code and system calls too."""
    _, expected = unbroken(EVERYTHING)
    rng, path, kills = random.Random(seed), tmp_path / "run", 0
    while True:
        life = Life(processes, path, tiny, EVERYTHING)
        for _ in range(rng.randrange(1, 7)):
            word = life.listen()
        if isinstance(word, int):
            life.process.kill()
        life.end()
        if life.process.exitcode == 0:
            break
        kills += 1
        assert kills < 100, "no progress"
    assert kills >= 2
    assert record(path) == expected


def test_a_second_process_is_refused(processes, tiny, tmp_path):
    """It is told who writes, and changes nothing; when the first has gone, it may go on."""
    run = RunFolder.create(tmp_path / "run", {})
    with run.lock():
        before = sorted(path.name for path in run.path.rglob("*"))
        refused = Life(processes, run.path, tiny, {"epochs": 1}).end()
        assert refused["error"] == "RunInUse"
        assert "run is being written by process" in refused["message"]
        assert sorted(path.name for path in run.path.rglob("*")) == before
    assert "calls" in Life(processes, run.path, tiny, {"epochs": 1}).end()
