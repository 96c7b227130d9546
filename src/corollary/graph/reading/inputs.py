"""Which file plays which part: what the user named, or what a folder or an archive shows by the names in it.

Understood as a whole: the folders of PyKEEN (`pykeen`), LibKGE (`train.del`, `entity_ids.del`), OpenKE (`train2id.txt`,
`entity2id.txt`), DGL-KE (`train.txt`, `entities.dict`), DRUM (`facts.txt` or `train_facts.txt` besides `train.txt`), plain `train.txt`,
`valid.txt`, `test.txt` (or `.nt`, `.pl`) with or without id files, and KGX (`*nodes.tsv`, `*edges.jsonl`); packed or not.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.graph.reading.id_files import GivenAs
from corollary.graph.reading.pykeen import ENTITIES, RELATIONS, TRIPLES, factories

_PACKING = re.compile(r"\.(gz|gzip|zst|zstd)$")
_TABLE = r"\.(txt|tsv|csv)"
_FACTS = r"\.(txt|tsv|csv|nt|pl)"
_TRIPLES: Sequence[tuple[str, Mapping[str, str], GivenAs | None]] = (
    ("an OpenKE dataset", {split: rf"{split}2id\.txt" for split in ("train", "valid", "test")}, "ids"),
    ("a LibKGE dataset", {split: rf"{split}\.del" for split in ("train", "valid", "test")}, "ids"),
    (
        "a dataset of labels",
        {
            "facts": f"(train_)?facts{_FACTS}",
            "train": f"(train|training){_FACTS}",
            "valid": f"(valid|validation|val|dev){_FACTS}",
            "test": f"(test|testing){_FACTS}",
        },
        None,
    ),
)
_ENTITIES = rf"(entity_ids|entities)\.del|entities\.(dict|tsv)|(entity2id|entity_to_id|entity_ids|node_dict|node2id){_TABLE}"
_RELATIONS = rf"(relation_ids|relations)\.del|relations\.(dict|tsv)|(relation2id|relation_to_id|relation_ids|rel_dict|rel2id){_TABLE}"
_NAMES = rf"(node_name_dict|entity_names|names){_TABLE}"
_KGX_NODES, _KGX_EDGES = r"(.*[_.-])?nodes\.(tsv|jsonl|csv)", r"(.*[_.-])?edges\.(tsv|jsonl|csv)"


@dataclass(frozen=True)
class Inputs:
    """The files of one import, unpacked, each with its part."""

    triples: Sequence[tuple[str, Path]]
    """Split and file, in the order of reading: train, valid, test."""
    nodes: Sequence[Path] = ()
    names: Sequence[Path] = ()
    entity_to_id: Path | None = None
    relation_to_id: Path | None = None
    given_as: GivenAs | None = None
    """Whether the triples are known to hold labels or ids."""
    quotes: bool | None = None
    """Whether id files are known to be written with quotes."""
    kind: str = field(default="", compare=False)
    """What a folder was recognised as."""


def existing_file(path: Path) -> Path:
    """`path` itself. Raises `InputError` where it is missing (with the nearest name in its folder) or a folder."""
    _check_exists(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder: name a file in it, or give the folder alone to import it as a whole"
        )
    return path


def text_files(path: Path, unpacked: Unpacked) -> list[Path]:
    """The plain files in what the user named: one, or the members of an archive in the order of their names.

    Raises `InputError` where the archive holds splits, since they must not run into each other.
    """
    plain = unpacked.plain(existing_file(path))
    if not plain.is_dir():
        return [plain]
    if dataset := folder_inputs(plain, unpacked):
        names = ", ".join(unpacked.name(file) for _, file in dataset.triples)
        raise InputError(f"{path} holds a whole dataset ({names}): give it as the only input")
    members = sorted(member for member in plain.rglob("*") if member.is_file())
    if not members:
        raise InputError(f"{path} is an archive without files")
    return [file for member in members for file in text_files(member, unpacked)]


def one_file(path: Path, unpacked: Unpacked) -> Path:
    """The plain file in what the user named, which may be an archive with one member."""
    files = text_files(path, unpacked)
    if len(files) > 1:
        names = ", ".join(unpacked.name(file) for file in files[:5])
        raise InputError(
            f"{path} holds {len(files)} files ({names}): expected one; unpack it and name the file"
        )
    return files[0]


def dataset_inputs(path: Path, unpacked: Unpacked) -> Inputs | None:
    """What a folder or an archive that was given alone holds; None for a single file or an archive of anything.

    Raises `InputError` for a folder that holds nothing known.
    """
    _check_exists(path)
    folder = path if path.is_dir() else unpacked.plain(path)
    if not folder.is_dir():
        return None
    found = folder_inputs(folder, unpacked)
    if found is None and path.is_dir():
        if (path / "facts.pl").exists():
            raise InputError(
                f"{path} holds facts.pl and no train.pl: put the facts that are asked for into train.pl, or name facts.pl "
                "itself to ask for all"
            )
        names = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
        raise InputError(
            f"{path} is a folder with {names}: expected train.txt (valid.txt, test.txt), train.del, train2id.txt, "
            f"{TRIPLES}, or KGX nodes and edges; name its files with --train, --valid, --test"
        )
    return found


def folder_inputs(folder: Path, unpacked: Unpacked) -> Inputs | None:
    """The parts that a folder's files play by their names, or None where they say nothing."""
    while len(entries := [entry for entry in folder.iterdir() if not entry.name.startswith(".")]) == 1:
        if not entries[0].is_dir() or factories(folder, unpacked):
            break
        folder = entries[0]
    if found := factories(folder, unpacked):
        return Inputs(
            triples=[(split, unpacked.plain(place / TRIPLES)) for split, place in found.items()],
            entity_to_id=unpacked.plain(found["train"] / ENTITIES),
            relation_to_id=unpacked.plain(found["train"] / RELATIONS),
            given_as="ids",
            quotes=True,
            kind="a PyKEEN triples factory",
        )
    files = {_PACKING.sub("", entry.name.lower()): entry for entry in sorted(entries) if entry.is_file()}
    pick = _Picker(folder, files)
    entities, relations = pick.one(_ENTITIES), pick.one(_RELATIONS)
    for kind, patterns, given_as in _TRIPLES:
        by_split = {split: pick.one(pattern) for split, pattern in patterns.items()}
        if by_split["train"] is None:
            continue
        order = [
            ("train", by_split.get("facts")),
            *((split, by_split[split]) for split in ("train", "valid", "test")),
        ]
        return Inputs(
            triples=[(split, unpacked.plain(file)) for split, file in order if file],
            names=[unpacked.plain(file) for file in [pick.one(_NAMES)] if file],
            entity_to_id=unpacked.plain(entities) if entities else None,
            relation_to_id=unpacked.plain(relations) if relations else None,
            given_as=given_as if entities and relations else None,
            kind=kind,
        )
    if edges := pick.all(_KGX_EDGES):
        return Inputs(
            triples=[("train", unpacked.plain(file)) for file in edges],
            nodes=[unpacked.plain(file) for file in pick.all(_KGX_NODES)],
            kind="KGX nodes and edges",
        )
    return None


@dataclass(frozen=True)
class _Picker:
    """Finds files by their names without packing."""

    folder: Path
    files: Mapping[str, Path]

    def all(self, pattern: str) -> list[Path]:
        return [path for name, path in self.files.items() if re.fullmatch(pattern, name)]

    def one(self, pattern: str) -> Path | None:
        found = self.all(pattern)
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise InputError(f"{self.folder} holds {names}, which play the same part: name the files to read")
        return found[0] if found else None


def _check_exists(path: Path) -> None:
    if path.exists():
        return
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.6)
    hint = f" Did you mean {path.parent / nearest[0]}?" if nearest else " Check the name and the folder."
    raise InputError(f"{path} does not exist.{hint}")
