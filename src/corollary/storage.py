"""Files that are whole or absent: written beside, flushed, renamed; checked by SHA-256; locked while in use."""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from corollary.errors import RunInUse, StorageError

_PARTIAL = ".partial-"


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes its place, on failure nothing is left."""
    partial = _beside(path)
    with readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with readable_errors(path):
            yield partial
            sync(partial)
            os.replace(partial, path)
            sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Like `new_file` for a folder. An existing folder is an error unless `replace`; on failure it is still there."""
    if path.exists() and not replace:
        raise StorageError(f"{path} exists already: choose another place or remove it first")
    partial = _beside(path)
    old = partial.with_name(partial.name + "-old")
    try:
        with readable_errors(path):
            partial.mkdir(parents=True)
            yield partial
            for file in sorted(partial.rglob("*")):
                sync(file)
            if path.exists():
                os.replace(path, old)
            os.replace(partial, path)
            sync(path.parent)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder so that nobody ever sees a part of it, not after a kill either."""
    partial = _beside(path)
    os.replace(path, partial)
    shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A temporary name that `recover` knows."""
    return path.with_name(f"{_PARTIAL}{path.name}-{uuid.uuid4().hex[:8]}")


def write_text(path: Path, text: str) -> None:
    """Replace a small file as a whole."""
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def recover(folder: Path) -> None:
    """Clear what a killed process left in `folder`: half-written things go, a thing half-replaced comes back."""
    for old in folder.glob(f"{_PARTIAL}*-old"):
        target = folder / old.name.removeprefix(_PARTIAL).rsplit("-", 2)[0]
        if not target.exists():
            os.replace(old, target)
    for partial in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system says about `path` into a message with a remedy."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full: free some space or choose another place",
            errno.EROFS: "the disk is read-only: choose another place",
            errno.EACCES: "no permission to write there: choose another place",
            errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
            errno.ENOTDIR: "a part of the path is a file, not a folder",
            errno.EISDIR: "there is a folder of that name: choose another name",
            errno.EEXIST: "a part of the path is a file, not a folder",
        }
        if error.errno not in reasons:
            raise
        raise StorageError(f"{path} was not written: {reasons[error.errno]}") from error


class FolderLock:
    """Holds a folder for one writer, until the process ends or `release`. The kernel frees it after a kill."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Take the lock, or keep it. Raises `RunInUse` with the process that holds it."""
        if self._descriptor is not None:
            return self
        with readable_errors(self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise RunInUse(
                f"{self.path.parent} is being written by process {owner}: wait for it or choose another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
