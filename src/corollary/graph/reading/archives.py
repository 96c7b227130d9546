"""Packed files: gzip, zstd, zip and tar, alone or one in another, unpacked in full before anything reads them.

What a file is is told by its first bytes, never by its name. Unpacking first costs disk for a while and buys three
things: checksums are compared (DuckDB 2.0 reads past a gzip file's wrong one, and takes a zstd file that was cut
short for a whole one), every reader sees plain text, and plain text is read by all threads.
"""

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import zstandard

from corollary.errors import InputError
from corollary.storage import readable_errors, sha256

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_CHUNK = 1 << 20
_REFUSED = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"Rar!": "rar", b"7z\xbc\xaf": "7z", b"PAR1": "Parquet"}
_DAMAGE = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    tarfile.TarError,
    zstandard.ZstdError,
    NotImplementedError,  # what zipfile raises for a way of packing that Python lacks
    RuntimeError,  # a zip with a password
)


class Unpacked:
    """Plain copies of packed files, in a folder that the caller removes, and the names that people know them by.

    The copy of `data/FB15k.tar.gz` is a folder, of `data/train.txt.gz` a file; a plain file is its own copy.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._origins: list[Path] = []
        self._copies: dict[Path, Path] = {}

    def plain(self, path: Path) -> Path:
        """The plain form of `path`: itself, an unpacked file, or the folder of an archive's members.

        Raises `InputError` where the archive is damaged, cut short, or of a kind that is not read.
        """
        if path not in self._copies:
            kind = _kind(path)
            self._copies[path] = self._unpack(path, kind) if kind else path
        return self._copies[path]

    def name(self, text: Path | str) -> str:
        """A path, or a message with paths in it, by where the user finds them: `data/FB15k.tar.gz/train.txt`."""
        text = str(text)
        for number in reversed(range(len(self._origins))):
            parent = self._origins[number].parent
            text = text.replace(f"{self._folder / str(number)}/", "" if parent == Path() else f"{parent}/")
        return text

    def origin(self, path: Path) -> Path:
        """The file that the user gave and that `path` came from."""
        for number, origin in enumerate(self._origins):
            if path.is_relative_to(self._folder / str(number)):
                return self.origin(origin)
        return path

    def sha256(self, path: Path) -> str:
        """Checksum of the file that the user gave, as it was given."""
        return sha256(self.origin(path))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Lets messages about unpacked copies speak of the files that the user gave."""
        try:
            yield
        except InputError as error:
            if (message := self.name(str(error))) != str(error):
                raise type(error)(message) from error
            raise

    def _unpack(self, path: Path, kind: bytes) -> Path:
        place = self._folder / str(len(self._origins))
        self._origins.append(path)
        target = place / path.name
        try:
            with readable_errors(place):
                place.mkdir(parents=True)
                if kind == ZIP:
                    _unzip(path, target)
                elif kind == GZIP:
                    with gzip.open(path) as stream, target.open("wb") as file:
                        shutil.copyfileobj(stream, file, _CHUNK)
                elif kind == ZSTD:
                    _unzstd(path, target)
                if kind != ZIP and (kind == b"ustar" or _kind(target) == b"ustar"):
                    _untar(path if kind == b"ustar" else target, target)
        except _DAMAGE as error:
            raise InputError(
                f"{path} is damaged or ends too early ({error}): fetch or pack the file again"
            ) from None
        return target


def _kind(path: Path) -> bytes:
    """The magic of a packed file, or nothing for a plain one."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    for magic, what in _REFUSED.items():
        if start.startswith(magic):
            raise InputError(
                f"{path} is {what}, which is not read: unpack it, or pack it with gzip, zstd or zip"
            )
    if start[257:262] == b"ustar":
        return b"ustar"
    return next((magic for magic in (GZIP, ZSTD, ZIP) if start.startswith(magic)), b"")


def _unzstd(path: Path, target: Path) -> None:
    """Frame by frame, so that a file cut short is seen: zstandard's own streams end there in silence."""
    with path.open("rb") as packed, target.open("wb") as file:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while piece := packed.read(_CHUNK):
            while piece:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                file.write(frame.decompress(piece))
                piece = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise EOFError("the last zstd frame is not complete")


def _unzip(path: Path, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and (target := _inside(folder, member.filename)):
                with archive.open(member) as stream, target.open("wb") as file:
                    shutil.copyfileobj(stream, file, _CHUNK)


def _untar(path: Path, folder: Path) -> None:
    """Files only: links and devices in an archive are left out. `path` may stand where `folder` is to be."""
    if path == folder:
        path = path.rename(path.with_name(f"{path.name}.unpacking"))
    folder.mkdir()
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and (target := _inside(folder, member.name)):
                with stream, target.open("wb") as file:
                    shutil.copyfileobj(stream, file, _CHUNK)
    if path.name == f"{folder.name}.unpacking":
        path.unlink()


def _inside(folder: Path, name: str) -> Path | None:
    """Where a member goes: inside `folder` whatever its name says. None for hidden files and what macOS adds."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("."):
        return None
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
