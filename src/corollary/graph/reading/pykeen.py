"""PyKEEN's folders: a TriplesFactory as it saves itself, and a dataset or a training run with several of them.

A factory is `numeric_triples.tsv.gz` (head, relation, tail as ids, with a header) beside `entity_to_id.tsv.gz` and
`relation_to_id.tsv.gz` (id, label, with a header, quoted as pandas does). `base.pth` is never opened: it is a pickle,
which can run code, and says nothing that the tables do not. Source: pykeen 1.11, src/pykeen/triples/triples_factory.py.
"""

from pathlib import Path

from corollary.errors import InputError
from corollary.graph.reading.archives import Unpacked
from corollary.storage import sha256

TRIPLES, ENTITIES, RELATIONS = "numeric_triples.tsv.gz", "entity_to_id.tsv.gz", "relation_to_id.tsv.gz"
_FOLDERS = {
    "train": ("training", "training_triples"),
    "valid": ("validation", "validation_triples"),
    "test": ("testing", "testing_triples"),
}


def factories(folder: Path, unpacked: Unpacked) -> dict[str, Path]:
    """Split and folder of each triples factory in `folder`; empty where it is none of PyKEEN's.

    Raises `InputError` where a factory lacks a file or numbers its entities differently from the training factory.
    """
    if (folder / TRIPLES).is_file():
        found = {"train": folder}
    else:
        places = ((split, folder / name) for split, names in _FOLDERS.items() for name in names)
        found = {split: place for split, place in places if (place / TRIPLES).is_file()}
    if "train" not in found:
        return {}
    for place in found.values():
        for name in (ENTITIES, RELATIONS):
            if not (place / name).is_file():
                raise InputError(
                    f"{place} has {TRIPLES} but no {name}: without it the ids have no labels; "
                    "save the TriplesFactory again with to_path_binary"
                )
            if sha256(unpacked.plain(place / name)) != sha256(unpacked.plain(found["train"] / name)):
                raise InputError(
                    f"{place / name} numbers its labels differently from {found['train'] / name}: the two factories are "
                    "not of one graph; import them apart"
                )
    return found
