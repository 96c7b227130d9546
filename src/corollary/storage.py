"""Files that are whole or absent: written in a hidden folder beside, flushed, renamed; checked by SHA-256; locked.

What is being written to `graph` lies in `.partial-graph/` until it is whole. A lock inside says which process is at it,
so that nobody clears away the work of a living one, and the next writer clears away that of a dead one.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from corollary.errors import RunInUse, StorageError

_PARTIAL = ".partial-"
_LOCK, _REPLACED = ".corollary-lock", ".corollary-replaced"  # names that no output bears
_AT_FDCWD, _EXCHANGE = -100, 2  # of renameat2 (Linux); renamex_np (macOS) calls the same number RENAME_SWAP


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path of the same name; on success it takes the place of `path`, on failure nothing is left."""
    with readable_errors(path), scratch_folder(path) as scratch:
        partial = scratch / path.name
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Like `new_file` for a folder. An existing one is an error unless `replace`; on failure it is still there.

    A folder that is replaced never lacks its name, where the system can swap two names (Linux, macOS).
    Raises `StorageError` where another process is writing the same folder.
    """
    if not replace:
        refuse_existing(path)
    with readable_errors(path), scratch_folder(path, alone=True) as scratch:
        partial = scratch / path.name
        partial.mkdir()
        yield partial
        for file in (partial, *sorted(partial.rglob("*"))):
            sync(file)
        if replace and path.exists():
            if not _exchange(partial, path):
                os.replace(path, scratch / _REPLACED)
                os.replace(partial, path)
        else:
            try:
                os.rename(partial, path)
            except OSError:
                refuse_existing(path)  # another process was faster
                raise
        sync(path.parent)


def refuse_existing(path: Path) -> None:
    """Raises `StorageError` where something stands at `path`; what killed writers left beside it goes."""
    if path.exists():
        with readable_errors(path):
            _clear(entry for entry in _partials(path.parent) if entry.name == f"{_PARTIAL}{path.name}")
        raise StorageError(f"{path} exists already: choose another place or remove it first")


def remove_folder(path: Path) -> None:
    """Remove a folder so that nobody ever sees a part of it, not after a kill either."""
    with readable_errors(path), scratch_folder(path, alone=True) as scratch:
        os.replace(path, scratch / path.name)


def remove_new(folder: Path, there: set[Path] | None) -> None:
    """Remove what a folder holds beside `there`; the folder as well, where that is None and nothing stays in it."""
    for entry in set(folder.iterdir()) - (there or set()):
        if entry.is_dir() and not entry.is_symlink():
            remove_folder(entry)
        else:
            entry.unlink()
    if there is None and not any(folder.iterdir()):
        folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Replace a small file as a whole."""
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def scratch_folder(path: Path, *, alone: bool = False, purpose: str = "") -> Iterator[Path]:
    """A hidden folder beside `path` for the work on it; gone when the block ends.

    What killed processes left for the same path and purpose is cleared away first.

    Args:
        alone: only one process may be at it; a second one gets a `StorageError`.
        purpose: tells several folders for one path apart.
    """
    name = f"{path.name}.{purpose}" if purpose else path.name
    with readable_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not alone:
            unique = re.compile(re.escape(_PARTIAL + name) + "-[0-9a-f]{8}")
            _clear(entry for entry in _partials(path.parent) if unique.fullmatch(entry.name))
        folder = path.parent / (f"{_PARTIAL}{name}" if alone else f"{_PARTIAL}{name}-{uuid.uuid4().hex[:8]}")
        descriptor = _occupy(folder)
    if descriptor is None:
        raise StorageError(
            f"{path} is being written by process {_owner(folder / _LOCK)}: wait for it or choose another place"
        )
    try:
        _empty(folder)
        yield folder
    finally:
        _leave(folder, descriptor)


def recover(folder: Path) -> None:
    """Clear what killed processes left in `folder`: half-written things go, a thing half-replaced comes back.

    What a living process is writing is left alone.
    """
    _clear(_partials(folder))


def _partials(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PARTIAL}*"))


def _clear(partials: Iterator[Path] | list[Path]) -> None:
    for partial in partials:
        if not partial.is_dir():
            partial.unlink(missing_ok=True)
        elif (descriptor := _occupy(partial)) is not None:
            _leave(partial, descriptor)


def _occupy(folder: Path) -> int | None:
    """Make a hidden folder, or take over one that is there: the descriptor of its lock, None where it is in use."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            taken = _lock(descriptor, folder)
        except FileNotFoundError:
            continue  # another process has just cleared it away
        except (OSError, StorageError):
            if {entry.name for entry in folder.iterdir()} <= {_LOCK}:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if not taken:
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / _LOCK)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the same: what was locked is no longer what bears the name


def _leave(folder: Path, descriptor: int) -> None:
    """Clear away a folder that `_occupy` took, its lock last."""
    try:
        _empty(folder)
        (folder / _LOCK).unlink()
        folder.rmdir()
    except OSError as error:
        # Another process may have taken the name since; a disk that has become read-only keeps what is there.
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST, errno.EROFS, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    """Remove all but the lock; what was being replaced goes back where its name is free."""
    target = folder.with_name(folder.name.removeprefix(_PARTIAL))
    for entry in sorted(folder.iterdir()):
        if entry.name == _LOCK:
            continue
        if entry.name == _REPLACED and not target.exists():
            os.replace(entry, target)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step. False where the system or the disk cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(first), os.fsencode(second)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(one, other, _EXCHANGE)
        else:
            failed = library.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _EXCHANGE)
    except AttributeError:
        return False
    number = ctypes.get_errno()
    if failed and number not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        raise OSError(number, os.strerror(number), str(second))
    return not failed


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


_REASONS = {
    errno.ENOSPC: "the disk is full: free some space or choose another place",
    errno.EROFS: "the disk is read-only: choose another place",
    errno.EACCES: "no permission to write there: choose another place",
    errno.EPERM: "no permission to write there: choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
    errno.EFBIG: "files on this disk or of this process (ulimit -f) may not be that large: choose another place",
    errno.EIO: "the disk reports an error: choose another place, and look after the disk",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "there is a folder of that name: choose another name",
    errno.EEXIST: "a part of the path is a file, not a folder",
}


_LIBRARIES = ("_duckdb", "duckdb", "safetensors")


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system says about `path` into a message with a remedy."""
    try:
        yield
    except Exception as error:
        reason = _REASONS.get(_system_error(error) or 0)
        if reason is None:
            raise
        raise StorageError(f"{path} was not written: {reason}") from error


def _system_error(error: Exception) -> int | None:
    """The system's number of an error, also where a library tells it in words."""
    if isinstance(error, OSError):
        # numpy: "3000000 requested and 12484 written", without a number
        return errno.ENOSPC if error.errno is None and "written" in str(error) else error.errno
    if type(error).__module__.split(".")[0] in _LIBRARIES:
        return next((number for number in _REASONS if os.strerror(number) in str(error)), None)
    return None


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
            if not _lock(descriptor, self.path.parent):
                raise RunInUse(
                    f"{self.path.parent} is being written by process {_owner(self.path)}: wait for it or choose "
                    "another folder"
                )
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


def _lock(descriptor: int, folder: Path) -> bool:
    """Lock an open file and write this process's number into it. It is closed where that fails."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        _note_owner(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise StorageError(
                f"{folder} is on a disk that knows no file locks: choose a place on another disk"
            ) from error
        raise
    return True


def _note_owner(descriptor: int) -> None:
    """For messages alone: on a full disk the lock holds without it, and what is written next says that it is full."""
    try:
        os.write(descriptor, str(os.getpid()).encode())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _owner(lock: Path) -> str:
    """The number of the process that holds a lock."""
    try:
        return lock.read_text(errors="replace").strip() or "unknown"
    except FileNotFoundError:
        return "unknown"
