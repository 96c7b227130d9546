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
    scratch_folder,
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


def dies(script: str, *arguments: object) -> None:
    """Run a script in a process that ends, by `os._exit(9)`, in the middle of it."""
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False)
    assert done.returncode == 9


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


@pytest.mark.parametrize(("swaps", "failing"), [(True, 1), (False, 1), (False, 2)])
def test_a_replacement_that_cannot_be_finished_brings_the_old_folder_back(
    tmp_path, monkeypatch, swaps, failing
):
    """A full disk in the middle of the renames loses nothing, where names can be swapped and where they cannot."""
    path, calls, replace = tmp_path / "run", [], os.replace
    with new_folder(path) as partial:
        fill(partial, "old")

    def full(source, target):
        calls.append(source)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(storage, "_exchange", full if swaps else lambda *paths: False)
    monkeypatch.setattr(storage.os, "replace", full)
    with (
        pytest.raises(StorageError, match="run was not written: the disk is full: free some space"),
        new_folder(path, replace=True) as partial,
    ):
        fill(partial, "new")
    assert everything(tmp_path) == {"run/a": "old", "run/deep/b": "old"}


def test_a_folder_that_is_replaced_never_lacks_its_name(tmp_path, monkeypatch):
    """The two are swapped in one step; where the disk cannot, the old one makes room first."""
    for text in ("one", "two", "three"):
        if text == "three":
            monkeypatch.setattr(storage, "_exchange", lambda *paths: False)
        with new_folder(tmp_path / "best", replace=True) as partial:
            fill(partial, text)
        assert everything(tmp_path) == {"best/a": text, "best/deep/b": text}
    monkeypatch.undo()
    monkeypatch.setattr(storage.os, "replace", lambda *paths: pytest.fail("it was moved away"))
    with new_folder(tmp_path / "best", replace=True) as partial:
        fill(partial, "four")
    assert everything(tmp_path) == {"best/a": "four", "best/deep/b": "four"}


def test_of_two_writers_of_a_folder_one_wins(tmp_path):
    """The second is told at once who is at it; a folder that appears meanwhile is not written over."""
    path = tmp_path / "graph"
    with new_folder(path) as partial:
        fill(partial, "first")
        with pytest.raises(StorageError) as caught:
            new_folder(path).__enter__()
        assert str(caught.value) == (
            f"{path} is being written by process {os.getpid()}: wait for it or choose another place"
        )
    assert everything(tmp_path) == {"graph/a": "first", "graph/deep/b": "first"}
    other = tmp_path / "other"
    with pytest.raises(StorageError, match="other exists already"), new_folder(other) as partial:
        fill(partial, "second")
        other.mkdir()
        (other / "mine").write_text("first")
    assert everything(other) == {"mine": "first"}


@pytest.mark.parametrize("name", ["lock", ".lock", "replaced", "a b's", "-x"])
def test_any_name_will_do(tmp_path, name):
    """Also those that the hidden folder might use itself."""
    write_text(tmp_path / name, "x")
    with new_folder(tmp_path / "folder" / name) as partial:
        fill(partial, "y")
    assert everything(tmp_path) == {name: "x", f"folder/{name}/a": "y", f"folder/{name}/deep/b": "y"}


def test_two_writers_of_a_file_both_succeed(tmp_path):
    """The last one stands; neither clears away the other's work."""
    first, second = new_file(tmp_path / "a"), new_file(tmp_path / "a")
    partials = first.__enter__(), second.__enter__()
    recover(tmp_path)
    for partial, text in zip(partials, ("one", "two"), strict=True):
        partial.write_text(text)
    second.__exit__(None, None, None)
    assert (tmp_path / "a").read_text() == "two"
    first.__exit__(None, None, None)
    assert everything(tmp_path) == {"a": "one"}


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


DIES_WRITING = """
import os, sys
from pathlib import Path
from corollary.storage import new_file, new_folder, scratch_folder
folder = Path(sys.argv[1])
with new_file(folder / "metrics.jsonl") as file, new_folder(folder / "epoch-0001") as made:
    file.write_text("half")
    (made / "a").write_text("half")
    with scratch_folder(folder / "graph", purpose="staging") as scratch:
        (scratch / "x").write_text("half")
        os._exit(9)
"""


def test_recovery_clears_what_a_killed_process_left(tmp_path):
    """Half-written files and folders go; whole ones, strangers, and what a living process writes, stay."""
    write_text(tmp_path / "config.json", "{}")
    dies(DIES_WRITING, tmp_path)
    (tmp_path / ".hidden").write_text("mine")
    (tmp_path / ".partial-tmp-abc").write_text("a file without a lock has no owner")
    with new_folder(tmp_path / "epoch-0002") as living:
        fill(living, "mine")
        before = len(list(tmp_path.glob(".partial-*")))
        recover(tmp_path)
        assert (before, list(tmp_path.glob(".partial-*"))) == (5, [living.parent])
    assert sorted(everything(tmp_path)) == [".hidden", "config.json", "epoch-0002/a", "epoch-0002/deep/b"]
    recover(tmp_path / "absent")


def test_the_next_writer_clears_what_a_killed_one_left(tmp_path):
    """For the same path alone: other paths are other people's business."""
    dies(DIES_WRITING, tmp_path)
    assert len(list(tmp_path.glob(".partial-*"))) == 3
    with new_folder(tmp_path / "epoch-0001") as made:
        assert list(made.iterdir()) == []
        assert len(list(tmp_path.glob(".partial-*"))) == 3
    write_text(tmp_path / "metrics.jsonl", "whole")
    with scratch_folder(tmp_path / "graph", purpose="staging") as scratch:
        assert [path.name for path in scratch.iterdir()] == [storage._LOCK]
    assert everything(tmp_path) == {"metrics.jsonl": "whole"}


DIES_REPLACING = """
import os, sys
from pathlib import Path
from corollary import storage
path, died_after, swaps = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
steps = 0
def mortal(function):
    def step(*arguments, **options):
        global steps
        if steps == died_after:
            os._exit(9)
        steps += 1
        return function(*arguments, **options)
    return step
storage._exchange = mortal(storage._exchange) if swaps else lambda *paths: False
storage.os.replace, storage.shutil.rmtree = mortal(os.replace), mortal(storage.shutil.rmtree)
storage.os.close = mortal(os.close)
with storage.new_folder(path, replace=True) as partial:
    (partial / "a").write_text("new")
os._exit(9)
"""


@pytest.mark.parametrize("swaps", [True, False])
@pytest.mark.parametrize("died_after", range(7))
def test_recovery_brings_back_a_folder_that_was_being_replaced(tmp_path, died_after, swaps):
    """Wherever the process died among the renames and the clearing up, one whole folder is there."""
    path = tmp_path / "best-of-all"
    with new_folder(path) as partial:
        (partial / "a").write_text("old")
    dies(DIES_REPLACING, path, died_after, swaps)
    if swaps:
        assert (path / "a").read_text() in ("old", "new")
    recover(tmp_path)
    found = everything(tmp_path)
    assert list(found) == ["best-of-all/a"]
    assert found["best-of-all/a"] in (
        ("old",) if died_after < 2 else ("new",) if died_after > 5 else ("old", "new")
    )


DIES_REMOVING = """
import os, sys
from pathlib import Path
from corollary import storage
storage.shutil.rmtree = lambda path, **options: ((path / "a").unlink(), os._exit(9))
storage.remove_folder(Path(sys.argv[1]))
"""


def test_a_removed_folder_is_never_seen_in_part(tmp_path):
    """It has lost its name before the first file goes; recovery clears what a kill left."""
    with new_folder(tmp_path / "epoch-0001") as partial:
        fill(partial, "x")
    dies(DIES_REMOVING, tmp_path / "epoch-0001")
    assert [path.name for path in tmp_path.iterdir()] == [".partial-epoch-0001"]
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    """Not taken for a second process."""

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(storage.fcntl, "flock", refuse)
    for take in (FolderLock(tmp_path).acquire, new_file(tmp_path / "x").__enter__):
        with pytest.raises(StorageError, match="is on a disk that knows no file locks: choose a place on"):
            take()


@pytest.mark.parametrize(
    "said",
    [
        'IO Error: Async write failed: {"exception_message":"Could not write file: No space left on device"}',
        "Error while serializing: I/O error: No space left on device (os error 28)",
    ],
)
def test_what_libraries_say_of_a_full_disk_becomes_the_same_message(tmp_path, said):
    """DuckDB and safetensors tell the system's error in words; numpy counts what it could not write."""
    foreign = type("IOException", (Exception,), {"__module__": "_duckdb"})
    for error in (foreign(said), OSError("3000000 requested and 12484 written")):
        with pytest.raises(StorageError) as caught, new_file(tmp_path / "x"):
            raise error
        assert str(caught.value) == (
            f"{tmp_path / 'x'} was not written: the disk is full: free some space or choose another place"
        )
    with pytest.raises(foreign), readable_errors(tmp_path):
        raise foreign("IO Error: something else")


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
