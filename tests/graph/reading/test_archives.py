"""Packed files: what comes out is what went in, or a message that names the file."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked

TEXT = b"a\tr\tb\n" * 1000


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("t.txt", lambda data: data),
        ("t.txt.gz", gzip.compress),
        (
            "two-parts.gz",
            lambda data: gzip.compress(data[:600], mtime=0) + gzip.compress(data[600:], mtime=0),
        ),
        ("t.txt.zst", zstandard.compress),
        ("two-frames.zst", lambda data: zstandard.compress(data[:600]) + zstandard.compress(data[600:])),
        ("gzip under another name.txt", gzip.compress),
    ],
)
def test_a_packed_file_unpacks_to_its_text(tmp_path: Path, name, pack):
    """What is in a file is told by its first bytes; several gzip members or zstd frames are one text."""
    path = tmp_path / name
    path.write_bytes(pack(TEXT))
    unpacked = Unpacked(tmp_path / "work")

    plain = unpacked.plain(path)

    assert plain.read_bytes() == TEXT
    assert unpacked.name(plain) == str(path)
    assert unpacked.origin(plain) == path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("d.zip", zipped),
        ("d.tar", tar),
        ("d.tar.gz", lambda members: gzip.compress(tar(members), mtime=0)),
        ("d.tgz", lambda members: gzip.compress(tar(members), mtime=0)),
        ("d.tar.zst", lambda members: zstandard.compress(tar(members))),
    ],
)
def test_an_archive_unpacks_to_a_folder(tmp_path: Path, name, pack):
    """Members keep their names; hidden files and what macOS adds are left out; packed members unpack in their turn."""
    path = tmp_path / name
    members = {
        "d/train.txt": TEXT,
        "d/.DS_Store": b"x",
        "__MACOSX/d/._train.txt": b"x",
        "d/valid.txt.gz": gzip.compress(b"v", mtime=0),
    }
    path.write_bytes(pack(members))
    unpacked = Unpacked(tmp_path / "work")

    folder = unpacked.plain(path)

    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert files == ["d/train.txt", "d/valid.txt.gz"]
    assert (folder / "d/train.txt").read_bytes() == TEXT
    inner = unpacked.plain(folder / "d/valid.txt.gz")
    assert inner.read_bytes() == b"v"
    assert unpacked.name(inner) == f"{path}/d/valid.txt.gz"
    assert unpacked.origin(inner) == path


def test_a_member_cannot_leave_the_folder(tmp_path: Path):
    """Names like ../../x and /x are taken as names inside."""
    for pack, name in ((zipped, "evil.zip"), (tar, "evil.tar")):
        (tmp_path / name).write_bytes(pack({"../../out.txt": b"1", "/abs.txt": b"2"}))
        folder = Unpacked(tmp_path / f"work-{name}").plain(tmp_path / name)
        assert sorted(file.name for file in folder.iterdir()) == ["abs.txt", "out.txt"]
    assert not (tmp_path / "out.txt").exists()


def test_messages_name_the_file_that_the_user_gave(tmp_path: Path):
    """A reader knows only the unpacked copy; its message is turned into one about the archive."""
    path = tmp_path / "d.zip"
    path.write_bytes(zipped({"d/train.txt": TEXT}))
    unpacked = Unpacked(tmp_path / "work")
    copy = unpacked.plain(path) / "d/train.txt"

    with pytest.raises(InputError) as error, unpacked.named():
        raise InputError(f"{copy}:3: too few columns")

    assert str(error.value) == f"{path}/d/train.txt:3: too few columns"


def changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("short.gz", gzip.compress(TEXT, mtime=0)[:-9]),
        ("wrong-checksum.gz", changed(gzip.compress(TEXT, mtime=0), -6)),
        ("rest.gz", gzip.compress(TEXT, mtime=0) + b"rest"),
        ("short.zst", zstandard.compress(TEXT)[:-3]),
        ("short.zip", zipped({"a": TEXT})[:-30]),
        ("short.tar.gz", gzip.compress(tar({"a": TEXT}), mtime=0)[:-20]),
        ("short.tar", tar({"a": TEXT})[:1000]),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name, data):
    """Cut short, changed, or with something behind it: never a part of the data in silence."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(
        InputError, match=r"is damaged or ends too early .*: fetch or pack the file again"
    ) as error:
        Unpacked(tmp_path / "work").plain(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("magic", "what"), [(b"BZh9", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"PAR1", "Parquet")]
)
def test_other_packings_are_refused_with_a_remedy(tmp_path: Path, magic, what):
    """The message says what the file is and what to do."""
    path = tmp_path / "data"
    path.write_bytes(magic + b"...")
    with pytest.raises(
        InputError, match=f"data is {what}, which is not read: unpack it, or pack it with gzip"
    ):
        Unpacked(tmp_path / "work").plain(path)
