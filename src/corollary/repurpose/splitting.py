"""What is held out to see how good the lists are: rows, pairs, areas of rows, or a list from outside.

- rows: every row is in one fold; its known pairs are hidden and all columns ranked for it. A new disease.
- random: every known pair is in one fold; all rows are ranked. Another drug for a disease that has some.
- areas: all rows of one area at once, so that no similar row gives the answer away. The hard test.
- external: nothing is hidden; pairs that a list names and the graph has not should come first.

Folds are a function of the seed and the pairs alone. A pair is hidden as a whole: in both directions and under every
relation between the two types (`Pairs.parallel`), which nothing that learns or counts ever sees.
"""

import re
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int

from corollary.errors import ConfigError, InputError
from corollary.graph.folder import Graph
from corollary.graph.pairs import linked_pairs
from corollary.messages import Say, silent
from corollary.randomness import generator
from corollary.repurpose.areas import areas_above, chosen_areas, read_areas
from corollary.repurpose.config import Scheme, SplittingConfig
from corollary.repurpose.cutting import cut_rows, everything
from corollary.repurpose.figures.truth import Truth
from corollary.repurpose.pair_files import read_places
from corollary.repurpose.pairs import Fold, Pairs, Places


def folds_of(
    scheme: Scheme, pairs: Pairs, graph: Graph, config: SplittingConfig, seed: int, *, say: Say = silent
) -> list[Fold]:
    """The folds of one scheme, in order.

    Raises `ConfigError` where there is too little to hold out, besides what files of areas and pairs raise.
    """
    match scheme:
        case "rows":
            return row_folds(pairs, config.folds, seed)
        case "random":
            return random_folds(pairs, config.folds, seed)
        case "areas":
            if config.areas_file is not None:
                areas = read_areas(config.areas_file, pairs.rows)
            else:
                areas = areas_above(graph, config.areas_relation or "", pairs.rows)
            chosen = chosen_areas(areas, pairs, config.areas, config.smallest_area)
            return [
                _of_rows(pairs, f"areas-{at:02}-{_plain(name)}", members)
                for at, (name, members) in enumerate(chosen.items())
            ]
        case "external":
            assert config.external_file is not None, "the configuration asks for it"
            places, missed = read_places(config.external_file, pairs, graph)
            return [external_fold(pairs, places, missed, say)]


def row_folds(pairs: Pairs, folds: int, seed: int) -> list[Fold]:
    """Every row in one fold, each with about as many known pairs.

    Raises `ConfigError` where fewer rows than folds have a known pair.
    """
    with_known = int((pairs.row_counts > 0).sum())
    if with_known < folds:
        raise ConfigError(
            f"{with_known} {pairs.rows.type} nodes have a known answer: {folds} folds need one each; set "
            "splitting.folds lower"
        )
    cut = cut_rows(pairs, everything(pairs), folds, seed)
    return [replace(fold, name=f"rows-{number}") for number, fold in enumerate(cut)]


def random_folds(pairs: Pairs, folds: int, seed: int) -> list[Fold]:
    """Every known pair, and every known negative, in one fold; all rows are ranked in each.

    Raises `ConfigError` where there are fewer known pairs than folds.
    """
    if len(pairs.known) < folds:
        raise ConfigError(
            f"{len(pairs.known)} pairs are known: {folds} folds need one each; set splitting.folds lower"
        )
    of_pair, of_negative = (
        generator(seed, "folds", name).permutation(len(places)) % folds
        for name, places in (("pairs", pairs.known), ("negatives", pairs.negatives))
    )
    everyone = np.arange(len(pairs.rows))
    return [
        Fold(f"random-{fold}", of_pair == fold, of_negative == fold, everyone, pairs.known[of_pair == fold])
        for fold in range(folds)
    ]


def external_fold(pairs: Pairs, places: Places, missed: int = 0, say: Say = silent) -> Fold:
    """A list from outside against all that is known: its pairs that are known already are left out.

    Args:
        missed: lines of the list that could not be used, for what is said.

    Raises `InputError` where the graph knows the whole list.
    """
    new = ~_among(places, pairs.known, pairs)
    say(
        f"external list: {new.sum():,} new pairs; {(~new).sum():,} are known already"
        + (f", {missed:,} lines name nodes that the graph has not" if missed else "")
    )
    if not new.any():
        raise InputError(
            "every pair of the external list is known to the graph: there is nothing left to find"
        )
    return Fold(
        "external-0",
        np.zeros(len(pairs.known), bool),
        _among(pairs.negatives, places[new], pairs),
        np.arange(len(pairs.rows)),
        places[new],
    )


def _plain(name: str) -> str:
    """A name that a folder may bear."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def _of_rows(pairs: Pairs, name: str, rows: Int[np.ndarray, " asked"]) -> Fold:
    hidden, negatives = (np.isin(places[:, 0], rows) for places in (pairs.known, pairs.negatives))
    return Fold(name, hidden, negatives, rows, pairs.known[hidden], whole_rows=True)


def _among(places: Places, others: Places, pairs: Pairs) -> Bool[np.ndarray, " places"]:
    """Which places are among the others."""
    one, other = (each[:, 0] * len(pairs.columns) + each[:, 1] for each in (places, others))
    return np.isin(one, other)


def truth_of(pairs: Pairs, folds: list[Fold]) -> Truth:
    """What the folds of one scheme ask, stacked: the rows of each fold under those of the last.

    A row that stands in several folds is drawn as one in the bootstrap. Scores of the folds are stacked the same way.
    """
    asked: list[Places] = []
    known: list[Places] = []
    start = 0
    for fold in folds:
        place = np.full(len(pairs.rows), -1)
        place[fold.asked] = start + np.arange(len(fold.asked))
        for found, places in ((asked, fold.positives), (known, fold.visible(pairs))):
            mine = place[places[:, 0]] >= 0
            found.append(np.stack([place[places[mine, 0]], places[mine, 1]], axis=1))
        start += len(fold.asked)
    return Truth.of(
        (start, len(pairs.columns)),
        np.concatenate(asked),
        np.concatenate(known),
        groups=np.concatenate([fold.asked for fold in folds]),
        parts=np.repeat(np.arange(len(folds)), [len(fold.asked) for fold in folds]),
        degrees=np.stack(
            [np.bincount(fold.visible(pairs)[:, 1], minlength=len(pairs.columns)) for fold in folds]
        ),
    )


def leaked(graph: Graph, pairs: Pairs, fold: Fold) -> int:
    """Triples of a graph, in any split, that link the two ends of a pair that the fold asks for or hides: under any
    relation, in either direction. The graph that a fold learns from must have none.

    Memory: about 40 bytes a triple.
    """
    places = np.concatenate([fold.positives, pairs.known[fold.hidden]])
    held = np.stack(
        [
            pairs.columns.entities[places[:, 1]],
            np.full(len(places), pairs.relation_id),
            pairs.rows.entities[places[:, 0]],
        ],
        axis=1,
    )
    return sum(
        len(linked_pairs(held, np.asarray(graph.triples(split)), graph.num_entities))
        for split in graph.splits
    )
