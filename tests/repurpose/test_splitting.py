"""Folds hide what they ask for, every pair once, the same for the same seed; areas; lists from outside."""

import gzip

import numpy as np
import pytest

from corollary.errors import ConfigError, InputError
from corollary.graph.folder import Graph, derive_graph
from corollary.repurpose.areas import areas_above, chosen_areas, read_areas
from corollary.repurpose.config import SplittingConfig
from corollary.repurpose.pairs import Pairs, read_pairs
from corollary.repurpose.splitting import (
    external_fold,
    folds_of,
    leaked,
    random_folds,
    row_folds,
    truth_of,
)


@pytest.fixture(scope="module")
def pairs(countries: Graph) -> Pairs:
    """Languages for every country."""
    return read_pairs(countries, "spoken_language", side="tail")


def codes(pairs: Pairs, places: np.ndarray) -> list[int]:
    return (places[:, 0] * len(pairs.columns) + places[:, 1]).tolist()


def test_every_row_is_asked_about_once_and_nothing_of_it_is_seen(pairs):
    folds = row_folds(pairs, 5, 0)
    assert sorted(np.concatenate([fold.asked for fold in folds]).tolist()) == list(range(len(pairs.rows)))
    for fold in folds:
        assert not set(fold.visible(pairs)[:, 0].tolist()) & set(fold.asked.tolist())
        assert codes(pairs, fold.positives) == codes(pairs, pairs.known[fold.hidden])
    sizes = [len(fold.positives) for fold in folds]
    assert max(sizes) - min(sizes) <= len(pairs.known) // 20


def test_every_pair_is_hidden_once_when_pairs_are_drawn(pairs):
    folds = random_folds(pairs, 4, 0)
    assert np.stack([fold.hidden for fold in folds]).sum(0).tolist() == [1] * len(pairs.known)
    assert all(len(fold.asked) == len(pairs.rows) for fold in folds)


def test_the_seed_decides_the_folds(pairs):
    for make in (row_folds, random_folds):
        hidden = [np.stack([fold.hidden for fold in make(pairs, 3, seed)]).tolist() for seed in (0, 0, 1)]
        assert hidden[0] == hidden[1] != hidden[2]


def test_too_few_rows_or_pairs_for_the_folds_are_an_error(pairs):
    with pytest.raises(ConfigError, match="nodes have a known answer: 900 folds need one each"):
        row_folds(pairs, 900, 0)
    with pytest.raises(ConfigError, match="pairs are known: 90000 folds need one each"):
        random_folds(pairs, 90000, 0)


def test_what_folds_ask_is_stacked_with_its_own_degrees(pairs):
    """Rows of every fold under the last; visible pairs of asked rows are known; a row of two folds is drawn as one."""
    folds = random_folds(pairs, 2, 0)
    truth = truth_of(pairs, folds)
    rows = len(pairs.rows)
    assert (truth.num_rows, truth.num_groups) == (2 * rows, rows)
    assert len(truth.asked) == len(truth.known) == len(pairs.known)
    assert (truth.asked[:, 0] >= rows).sum() == len(folds[1].positives)
    assert np.array_equal(truth.degrees.sum(0), pairs.column_counts)
    by_row = truth_of(pairs, row_folds(pairs, 5, 0))
    assert (by_row.num_rows, len(by_row.known), len(by_row.asked)) == (rows, 0, len(pairs.known))


def test_areas_come_from_a_relation_that_is_followed_upwards(countries, pairs):
    """Every subregion lies in a region; a country of both is below both."""
    areas = areas_above(countries, "located_in_subregion", pairs.rows)
    assert all(len(members) for members in areas.values())
    triples = np.concatenate([np.asarray(countries.triples(split)) for split in countries.splits])
    number = countries.relations.find("located_in_subregion")
    name, members = next(iter(areas.items()))
    area = countries.entities.find(name)
    heads = triples[(triples[:, 1] == number) & (triples[:, 2] == area), 0]
    assert set(pairs.rows.entities[members].tolist()) == {
        head for head in heads.tolist() if head in pairs.rows.entities
    }


def test_areas_of_a_file_may_be_packed_and_several_a_line(pairs, tmp_path):
    first, second = pairs.rows.labels[:2]
    path = tmp_path / "areas.tsv.gz"
    path.write_bytes(
        gzip.compress(
            f"id\tcount\tareas\n{first}\t3\tnorth|cold\n{second}\t2\tnorth\nnobody\t1\tfar\n".encode()
        )
    )
    found = read_areas(path, pairs.rows)
    assert {name: members.tolist() for name, members in found.items()} == {"cold": [0], "north": [0, 1]}
    path.write_bytes(gzip.compress(b"nobody\tfar\n"))
    with pytest.raises(InputError, match="names no country of the graph"):
        read_areas(path, pairs.rows)
    with pytest.raises(InputError, match="no such file of areas"):
        read_areas(tmp_path / "none", pairs.rows)


def test_areas_within_areas_and_those_that_are_too_large_are_left_out(pairs):
    """Of equal ones the first by name stays; names are taken as they are."""
    rows = np.flatnonzero(pairs.row_counts > 0)
    areas = {"all": rows, "north": rows[:9], "cold": rows[:5], "twin": rows[:9], "tiny": rows[20:22]}
    assert list(chosen_areas(areas, pairs, (), 4)) == ["north"]
    assert list(chosen_areas(areas, pairs, (), 2)) == ["north", "tiny"]
    assert list(chosen_areas(areas, pairs, ("cold", "all"), 4)) == ["cold", "all"]
    with pytest.raises(ConfigError, match="area 'nort' is not known. Did you mean 'north'"):
        chosen_areas(areas, pairs, ("nort",), 4)
    with pytest.raises(ConfigError, match="none of 1 areas holds 4 to"):
        chosen_areas({"all": rows}, pairs, (), 4)


def test_a_list_from_outside_asks_for_what_is_new(pairs, countries, tmp_path):
    """Known pairs and unknown nodes are counted aloud."""
    row, column = pairs.known[0].tolist()
    free = next(
        c
        for c in range(len(pairs.columns))
        if (row * len(pairs.columns) + c) not in codes(pairs, pairs.known)
    )
    lines = [(pairs.rows.labels[row], pairs.columns.labels[c]) for c in (column, free)]
    path = tmp_path / "list.tsv"
    path.write_text("".join(f"{head}\t{tail}\n" for head, tail in [*lines, ("nowhere", "nothing")]))
    said = []
    config = SplittingConfig(external_file=path)
    (fold,) = folds_of("external", pairs, countries, config, 0, say=said.append)
    assert fold.positives.tolist() == [[row, free]]
    assert not fold.hidden.any()
    assert said == [
        "external list: 1 new pairs; 1 are known already, 1 lines name nodes that the graph has not"
    ]
    with pytest.raises(InputError, match="every pair of the external list is known"):
        external_fold(pairs, pairs.known)


def test_a_graph_that_links_a_hidden_pair_is_caught(countries, pairs, tmp_path):
    """Under any relation and in either direction; a graph without all of them is clean."""
    fold = row_folds(pairs, 5, 0)[0]
    assert leaked(countries, pairs, fold) >= len(fold.positives)
    triples = np.asarray(countries.triples("train"))
    kinds = np.asarray(countries.types)
    ends = {countries.info.node_types.index(name) for name in ("country", "language")}
    between = np.array([{one, other} == ends for one, other in kinds[triples[:, [0, 2]]].tolist()])
    clean = triples[~between]
    row, column = fold.positives[0].tolist()
    other = int(countries.relations.find("borders"))
    secret = [[pairs.columns.entities[column], other, pairs.rows.entities[row]]]
    for name, rows, expected in (("clean", clean, 0), ("secret", np.concatenate([clean, secret]), 1)):
        made = derive_graph(countries, tmp_path / name, triples={"train": rows})
        assert leaked(made, pairs, fold) == expected


def test_schemes_by_name(countries, pairs):
    config = SplittingConfig(folds=3, areas_relation="located_in_subregion", smallest_area=10)
    names = {
        scheme: [fold.name for fold in folds_of(scheme, pairs, countries, config, 0)]
        for scheme in ("rows", "random", "areas")
    }
    assert names["rows"] == ["rows-0", "rows-1", "rows-2"]
    assert names["random"] == ["random-0", "random-1", "random-2"]
    assert len(names["areas"]) > 5
    assert all(name.startswith("areas-") for name in names["areas"])
