"""Files and folders are whole or absent, whatever happens while they are written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corollary import storage
from corollary.errors import RunInUse, StorageError
from corollary.storage import (
    FolderLock,
    new_file,
    new_folder,
    readable_errors,
    recover,
    remove_folder,
    write_text,
)

FULL = Path("/dev/full")


def everything(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its text; hidden ones too."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def fill(folder: Path, text: str) -> None:
    (folder / "deep").mkdir()
    (folder / "a").write_text(text)
    (folder / "deep" / "b").write_text(text)


def test_a_new_file_appears_as_a_whole(tmp_path):
    """Nothing bears the name until the block ends; folders above are made; an old one is replaced."""
    path = tmp_path / "x" / "y.json"
    for text in ("one", "two"):
        before = path.read_text() if path.exists() else None
        with new_file(path) as partial:
            partial.write_text(text)
            assert (path.read_text() if path.exists() else None) == before
        assert everything(tmp_path) == {"x/y.json": text}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_that_fails_leaves_what_was_there(tmp_path, error):
    """The old content stays, the new is gone."""
    write_text(tmp_path / "a", "old")
    for name in ("a", "b"):
        with pytest.raises(error), new_file(tmp_path / name) as partial:
            partial.write_text("half")
            raise error
    assert everything(tmp_path) == {"a": "old"}


def test_a_new_folder_appears_as_a_whole(tmp_path):
    """An existing one is kept, unless it is to be replaced."""
    path = tmp_path / "graph"
    with new_folder(path) as partial:
        fill(partial, "one")
        assert not path.exists()
    with pytest.raises(StorageError, match="graph exists already: choose another place or remove it first"):
        new_folder(path).__enter__()
    with new_folder(path, replace=True) as partial:
        fill(partial, "two")
        assert (path / "a").read_text() == "one"
    assert everything(tmp_path) == {"graph/a": "two", "graph/deep/b": "two"}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_what_was_there(tmp_path, error, replace):
    """Also when the user interrupts."""
    path = tmp_path / "run"
    if replace:
        with new_folder(path) as partial:
            fill(partial, "old")
    before = everything(tmp_path)
    with pytest.raises(error), new_folder(path, replace=replace) as partial:
        fill(partial, "half")
        raise error
    assert everything(tmp_path) == before
    assert path.exists() == replace


@pytest.mark.parametrize("failing", [1, 2])
def test_a_replacement_that_cannot_be_finished_brings_the_old_folder_back(tmp_path, monkeypatch, failing):
    """A full disk in the middle of the two renames loses nothing."""
    path, calls, replace = tmp_path / "run", [], os.replace
    with new_folder(path) as partial:
        fill(partial, "old")

    def full(source, target):
        calls.append(source)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(storage.os, "replace", full)
    with (
        pytest.raises(StorageError, match="run was not written: the disk is full: free some space"),
        new_folder(path, replace=True) as partial,
    ):
        fill(partial, "new")
    assert everything(tmp_path) == {"run/a": "old", "run/deep/b": "old"}


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("new", [new_file, new_folder])
def test_a_full_disk_is_told_with_a_remedy(tmp_path, new):
    """The system's own error while writing; nothing is left."""
    with pytest.raises(StorageError) as caught, new(tmp_path / "x"):
        FULL.write_text("too much")
    assert str(caught.value) == (
        f"{tmp_path / 'x'} was not written: the disk is full: free some space or choose another place"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EROFS, "the disk is read-only: choose another place"),
        (errno.EACCES, "no permission to write there: choose another place"),
        (errno.EDQUOT, "the disk quota is used up: free some space or choose another place"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_with_a_remedy(tmp_path, monkeypatch, number, reason):
    """For files, for folders and for the folders above them."""

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for new in (new_file, new_folder):
        with pytest.raises(StorageError) as caught, new(tmp_path / "deep" / "x"):
            pytest.fail("the block is not entered")
        assert str(caught.value) == f"{tmp_path / 'deep' / 'x'} was not written: {reason}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told_with_a_remedy(tmp_path):
    """A real one."""
    tmp_path.chmod(0o500)
    try:
        for new in (new_file, new_folder):
            with (
                pytest.raises(StorageError, match="no permission to write there"),
                new(tmp_path / "x") as partial,
            ):
                partial.write_text("x")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("place", ["file/x", "file/deep/x"])
@pytest.mark.parametrize("new", [new_file, new_folder])
def test_a_file_on_the_way_is_named_as_the_reason(tmp_path, new, place):
    """A folder cannot be made below a file."""
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(StorageError, match="was not written: a part of the path is a file, not a folder"),
        new(tmp_path / place),
    ):
        pytest.fail("the block is not entered")
    assert everything(tmp_path) == {"file": "mine"}


def test_other_errors_pass_as_they_are():
    """What the remedies do not fit is not dressed up."""
    with pytest.raises(FileNotFoundError), readable_errors(Path("x")):
        Path("/nowhere/at/all").read_text()


def test_recovery_clears_what_a_killed_process_left(tmp_path):
    """Half-written files and folders go; whole ones, and strangers, stay."""
    write_text(tmp_path / "config.json", "{}")
    dead = new_file(tmp_path / "metrics.jsonl"), new_folder(tmp_path / "epoch-0001")
    dead[0].__enter__().write_text("half")
    fill(dead[1].__enter__(), "half")
    (tmp_path / ".hidden").write_text("mine")
    recover(tmp_path)
    assert everything(tmp_path) == {".hidden": "mine", "config.json": "{}"}
    recover(tmp_path / "absent")


@pytest.mark.parametrize("died_after", [0, 1, 2, 3])
def test_recovery_brings_back_a_folder_that_was_being_replaced(tmp_path, monkeypatch, died_after):
    """Wherever the process died between the renames and the clearing up, one whole folder is there."""
    path, done = tmp_path / "best-of-all", []
    with new_folder(path) as partial:
        fill(partial, "old")

    class Dead(BaseException):
        pass

    def until_death(function):
        def step(*arguments, **options):
            if len(done) == died_after:
                raise Dead
            done.append(function)
            return function(*arguments, **options)

        return step

    monkeypatch.setattr(storage.os, "replace", until_death(os.replace))
    monkeypatch.setattr(storage.shutil, "rmtree", until_death(storage.shutil.rmtree))
    with pytest.raises(Dead), new_folder(path, replace=True) as partial:
        fill(partial, "new")
    monkeypatch.undo()
    recover(tmp_path)
    text = "old" if died_after < 2 else "new"
    assert everything(tmp_path) == {"best-of-all/a": text, "best-of-all/deep/b": text}


def test_a_removed_folder_is_never_seen_in_part(tmp_path, monkeypatch):
    """It has lost its name before the first file goes; recovery clears what a kill left."""
    with new_folder(tmp_path / "epoch-0001") as partial:
        fill(partial, "x")
    monkeypatch.setattr(storage.shutil, "rmtree", lambda path, **options: (path / "a").unlink())
    remove_folder(tmp_path / "epoch-0001")
    monkeypatch.undo()
    assert [path.name.startswith(".partial-epoch-0001-") for path in tmp_path.iterdir()] == [True]
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_is_sha256(tmp_path):
    """Of the bytes."""
    (tmp_path / "x").write_bytes(b"abc")
    assert (
        storage.sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_folder_has_one_writer(tmp_path):
    """A second one, in this process or another, is told who holds it; released, it can be taken."""
    lock = FolderLock(tmp_path)
    message = f"{tmp_path} is being written by process {os.getpid()}: wait for it or choose another folder"
    with lock:
        assert lock.acquire() is lock
        with pytest.raises(RunInUse) as caught:
            FolderLock(tmp_path).acquire()
        assert str(caught.value) == message
        script = (
            "import sys; from pathlib import Path; from corollary.storage import FolderLock\n"
            "try: FolderLock(Path(sys.argv[1])).acquire()\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        other = subprocess.run(
            [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
        )
        assert other.stdout == f"RunInUse {message}\n"
    lock.release()
    with FolderLock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
