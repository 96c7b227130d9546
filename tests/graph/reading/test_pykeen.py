"""PyKEEN's folders, written the way PyKEEN writes them."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from corollary.errors import InputError
from corollary.graph.importing import ImportConfig, import_graph

ENTITIES = {"aspirin": 2, 'a "quoted" name': 0, "fever": 1}
RELATIONS = {"treats": 1, "causes": 0}


class Bomb:
    """Unpickling it fails the test."""

    def __reduce__(self):
        return (pytest.fail, ("base.pth was unpickled",))


def save_factory(
    folder: Path, triples: list[tuple[int, int, int]], entities: dict[str, int] = ENTITIES
) -> Path:
    """As TriplesFactory.to_path_binary does in pykeen 1.11."""
    folder.mkdir(parents=True)
    table = pd.DataFrame(np.array(triples), columns=["head", "relation", "tail"])
    table.to_csv(folder / "numeric_triples.tsv.gz", sep="\t", index=False)
    for name, ids in (("entity_to_id", entities), ("relation_to_id", RELATIONS)):
        table = pd.DataFrame(ids.items(), columns=["label", "id"]).sort_values(by="id").set_index("id")
        table.to_csv(folder / f"{name}.tsv.gz", sep="\t")
    (folder / "base.pth").write_bytes(pickle.dumps(Bomb()))
    return folder


def test_a_factory_keeps_its_ids(tmp_path: Path):
    """Ids, labels with quotes, triples; nothing is unpickled."""
    folder = save_factory(tmp_path / "factory", [(2, 1, 1), (0, 0, 1)])

    graph = import_graph(tmp_path / "graph", ImportConfig(files=(folder,)))

    assert list(graph.entities.labels) == ['a "quoted" name', "fever", "aspirin"]
    assert list(graph.relations.labels) == ["causes", "treats"]
    assert graph.triples("train").tolist() == [[2, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    "names",
    [("training", "validation", "testing"), ("training_triples", "validation_triples", "testing_triples")],
)
def test_factories_side_by_side_are_splits(tmp_path: Path, names):
    """A dataset folder, and the folder of a pipeline run."""
    for name, triple in zip(names, [(2, 1, 1), (0, 0, 1), (1, 0, 0)], strict=True):
        save_factory(tmp_path / "run" / name, [triple])

    graph = import_graph(tmp_path / "graph", ImportConfig(files=(tmp_path / "run",)))

    assert {split: graph.triples(split).tolist() for split in graph.splits} == {
        "train": [[2, 1, 1]],
        "valid": [[0, 0, 1]],
        "test": [[1, 0, 0]],
    }


def test_factories_of_two_graphs_are_refused(tmp_path: Path):
    """Ids that mean different labels are never mixed."""
    save_factory(tmp_path / "run/training", [(2, 1, 1)])
    save_factory(tmp_path / "run/testing", [(2, 1, 1)], {"aspirin": 0, "fever": 1, "cold": 2})
    with pytest.raises(
        InputError, match=r"testing/entity_to_id.tsv.gz numbers its labels differently from .*training"
    ):
        import_graph(tmp_path / "graph", ImportConfig(files=(tmp_path / "run",)))


def test_a_factory_without_labels_is_refused(tmp_path: Path):
    """The message says what is missing and how to make it."""
    folder = save_factory(tmp_path / "factory", [(0, 0, 1)])
    (folder / "relation_to_id.tsv.gz").unlink()
    with pytest.raises(InputError, match=r"no relation_to_id.tsv.gz: .* save the TriplesFactory again"):
        import_graph(tmp_path / "graph", ImportConfig(files=(folder,)))


def test_a_triple_with_an_id_out_of_range_is_named(tmp_path: Path):
    """By the packed file that the user knows, and its line, header counted."""
    folder = save_factory(tmp_path / "factory", [(0, 0, 1), (0, 0, 7)])
    message = r"factory/numeric_triples.tsv.gz:3: the tail '7' is out of range: .*factory/entity_to_id.tsv.gz has the ids 0 to 2"
    with pytest.raises(InputError, match=message):
        import_graph(tmp_path / "graph", ImportConfig(files=(folder,)))
    assert not (tmp_path / "graph").exists()


def test_a_damaged_id_file_is_named(tmp_path: Path):
    """A gzip file cut short."""
    folder = save_factory(tmp_path / "factory", [(0, 0, 1)])
    (folder / "entity_to_id.tsv.gz").write_bytes(gzip.compress(b"id\tlabel\n" * 50, mtime=0)[:-8])
    with pytest.raises(InputError, match=r"entity_to_id.tsv.gz is damaged"):
        import_graph(tmp_path / "graph", ImportConfig(files=(folder,)))
