"""Disks that are full, read-only, closed to the user, or shy of large files: one message, and nothing half-written."""

import gc
import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.scenes import TRAINING, leftovers, run_is_wrong, run_result, write_files

NOBODY = 65534
FULL = "the disk is full: free some space or choose another place"
CLOSED = {
    "read-only": "the disk is read-only: choose another place",
    "denied": "no permission to write there: choose another place",
}


@pytest.fixture(scope="module")
def place():
    """A folder that any user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="disks-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def disk(place):
    """A small disk of its own in memory: 16 MB."""
    path = place / "disk"
    path.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", path], capture_output=True
        ).returncode
    ):
        pytest.skip("only root may mount a disk here")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def ready(disk, trained):
    """The disk with loose files of triples, a graph and a run."""
    for entry in disk.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    write_files(disk)
    shutil.copytree(trained / "graph", disk / "graph")
    shutil.copytree(trained / "run", disk / "trained")
    return disk


@contextmanager
def free(disk, kib):
    """Inside, there is room for so many KiB."""
    left = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(max(0, left.f_bavail * left.f_frsize - 1024 * kib)))
    try:
        yield
    finally:
        (disk / "ballast").unlink()


@contextmanager
def closed(disk, how):
    """Inside, nothing can be written there: the whole disk is read-only, or it is root's and we are not."""
    gc.collect()  # a failed command's traceback may still hold a file open, and its disk would count as busy
    if how == "denied":
        os.seteuid(NOBODY)
    else:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        yield
    finally:
        if how == "denied":
            os.seteuid(0)
        else:
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


@contextmanager
def small_files(size):
    """Inside, no file may be larger; Python leaves the signal that goes with it alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def seen(folder):
    """Names and sizes of all there is, hidden things too."""
    return {
        str(p.relative_to(folder)): p.stat().st_size * p.is_file()
        for p in folder.rglob("*")
        if p.name != "ballast"
    }


COMMANDS = {
    "import": lambda disk: (
        "graph", "import", "--train", disk / "good.tsv", "--test", disk / "test.tsv", "-o", disk / "new",
    ),
    "split": lambda disk: ("graph", "split", disk / "graph", "-o", disk / "new"),
    "train": lambda disk: ("train", "conve", disk / "graph", "-o", disk / "new", *TRAINING),
    "ranks": lambda disk: ("evaluate", disk / "trained", "--ranks", disk / "new.parquet"),
    "npy": lambda disk: ("export", disk / "trained", "-o", disk / "new"),
    "parquet": lambda disk: ("export", disk / "trained", "--format", "parquet", "-o", disk / "new"),
    "word2vec": lambda disk: ("export", disk / "trained", "--format", "word2vec", "-o", disk / "new"),
    "report": lambda disk: ("report", disk / "trained"),
    "predict": lambda disk: (
        "predict", disk / "trained", "--head", "France", "--relation", "borders", "--output", disk / "new.parquet",
    ),
}  # fmt: skip
ENOUGH = {"train": 0}
"""Tried by a test of its own."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ENOUGH])
def test_a_full_disk_is_one_message_at_any_moment(command, ready, name):
    """With more and more room, until it is enough: each failure says that the disk is full and leaves what was there."""
    before, failures = seen(ready), 0
    for kib in (0, 4, 12, 40, 100, 250, 600, 1500, 4000, 9000):
        with free(ready, kib):
            done = command(*COMMANDS[name](ready))
        if done.code == 0:
            break
        failures += 1
        assert done.message.endswith(f" was not written: {FULL}"), done.message
        assert str(ready) in done.message
        assert ".partial" not in done.message
        assert seen(ready) == before
    assert done.code == 0
    assert failures >= 1
    assert leftovers(ready) == []


@pytest.mark.parametrize("how", ["read-only", "denied"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_disk_is_one_message(command, ok, ready, name, how):
    """The disk's own, or the rights of the user; nothing has changed."""
    before = seen(ready)
    with closed(ready, how):
        done = command(*COMMANDS[name](ready))
    assert done.message.endswith(f" was not written: {CLOSED[how]}"), done.message
    assert seen(ready) == before
    ok(*COMMANDS[name](ready))


@pytest.mark.parametrize("name", ["import", "train", "ranks", "npy", "parquet", "word2vec"])
def test_a_limit_on_the_size_of_files_is_one_message(command, ok, trained, tmp_path, name):
    """Where no disk can be mounted, `ulimit -f` does for a full one; it needs no rights."""
    write_files(tmp_path)
    shutil.copytree(trained / "graph", tmp_path / "graph")
    shutil.copytree(trained / "run", tmp_path / "trained")
    words, before = COMMANDS[name](tmp_path), seen(tmp_path)
    with small_files(8000):
        done = command(*words)
    assert "files on this disk or of this process (ulimit -f) may not be that large" in done.message
    if name == "train":
        assert run_is_wrong(tmp_path / "new") == []
        ok("train", "--resume", tmp_path / "new")
    else:
        assert seen(tmp_path) == before
        ok(*words)


@pytest.mark.slow
def test_a_disk_that_fills_up_during_training_loses_nothing(command, ok, ready, tmp_path):
    """One message: which checkpoint, its size, what is free, the one that is whole, and how to go on; and it does."""
    ok("train", "conve", ready / "graph", "-o", tmp_path / "unbroken", *TRAINING)
    expected, stopped = run_result(tmp_path / "unbroken"), set()
    for kib in (0, 8, 60, 120, 200, 300, 400, 550, 700, 900, 1200):
        words = COMMANDS["train"](ready)
        with free(ready, kib):
            done = command(*words)
        if done.code == 0:
            break
        assert FULL in done.message
        assert run_is_wrong(ready / "new") == []
        if (ready / "new" / "config.json").exists():
            where = sorted(path.name for path in (ready / "new" / "checkpoints").glob("epoch-*"))
            stopped.add(len(where))
            if "checkpoints/" in done.message:
                assert " (the checkpoint takes " in done.message
            if "Training has stopped" in done.message:
                last = (
                    f"the last checkpoint, {where[-1]}, is whole" if where else "there is no checkpoint yet"
                )
                assert f"Training has stopped; {last}. Once that is put right, go on with: " in done.message
                assert done.message.endswith(f"corollary train --resume {ready / 'new'}")
            words = ("train", "--resume", ready / "new")
        ok(*words)
        found = run_result(ready / "new")
        assert {key: found[key] for key in expected} == expected
        shutil.rmtree(ready / "new")
    assert stopped >= {0, 1, 2}
