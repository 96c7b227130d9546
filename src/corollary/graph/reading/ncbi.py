"""NCBI's taxonomy dump: `nodes.dmp` with `names.dmp` and `merged.dmp` beside it, in a folder or in `taxdump.tar.gz`.

Fields end in tab, bar, tab. Of the names the scientific one is kept. Merged taxids lead to those that replaced them.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corollary.errors import InputError
from corollary.graph.reading.taxonomies import Nodes

Opener = Callable[[str], Iterator[list[str]]]


def is_dump(path: Path) -> bool:
    """Whether a path is `nodes.dmp`, a folder that holds it, or an archive named as one."""
    return (
        path.name == "nodes.dmp"
        or (path / "nodes.dmp").is_file()
        or path.name.endswith((".tar.gz", ".tgz", ".tar"))
    )


def read_dump(path: Path) -> Nodes:
    """All taxa with parent, rank and name. Raises `InputError` where a line or a file is missing or cut short."""
    nodes = Nodes(read_as="NCBI taxonomy dump")
    with _files(path) as fields:
        for number, row in enumerate(fields("nodes.dmp"), start=1):
            if len(row) < 3 or not (row[0].isdigit() and row[1].isdigit()):
                raise InputError(f"{path}: nodes.dmp line {number}: expected taxid, parent and rank")
            if row[0] in nodes.described:
                raise InputError(f"{path}: nodes.dmp line {number}: taxid {row[0]} stands there twice")
            nodes.add(row[0], row[1], where=f"{path}: nodes.dmp line {number}")
            nodes.ranks[row[0]] = row[2]
        for row in fields("names.dmp"):
            if len(row) > 3 and row[3] == "scientific name":
                nodes.names[row[0]] = row[1]
        nodes.merged = {row[0]: row[1] for row in fields("merged.dmp") if len(row) > 1}
    if not nodes.described:
        raise InputError(f"{path}: nodes.dmp is empty")
    return nodes


@contextmanager
def _files(path: Path) -> Iterator[Opener]:
    """A function that gives the rows of a member; of one that is not there, none, but for `nodes.dmp`."""
    if path.is_dir() or path.name == "nodes.dmp":
        folder = path if path.is_dir() else path.parent

        def from_folder(name: str) -> Iterator[list[str]]:
            if name == "nodes.dmp" or (folder / name).is_file():
                with (folder / name).open("rb") as file:
                    yield from _rows(file)

        yield from_folder
        return
    try:
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
            if "nodes.dmp" not in members:
                raise InputError(f"{path} holds no nodes.dmp: expected NCBI's taxdump.tar.gz")

            def from_archive(name: str) -> Iterator[list[str]]:
                file = archive.extractfile(members[name]) if name in members else None
                if file is not None:
                    yield from _rows(file)

            yield from_archive
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{path} is no archive, or is cut short: {error}") from None


def _rows(file: Iterable[bytes]) -> Iterator[list[str]]:
    for line in file:
        yield line.decode("utf-8", errors="replace").rstrip("\t|\r\n").split("\t|\t")
