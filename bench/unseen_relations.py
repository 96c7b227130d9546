"""How well are relations answered that no training saw, by none, one or five of their facts?

`python bench/unseen_relations.py drum-umls --seeds 3` reads a folder below COROLLARY_DATA/kge, takes a fifth of its
relations out altogether, and trains on the rest: one DRUM with generated queries, one without. Then each unseen relation is
asked with 0, 1 and 5 of its facts, up to 200 others ranked from both sides (ties expected, all known facts filtered):

    generated   the query that its description makes
    adapted     the same, moved by the facts for 50 steps
    copy        the seen relation most like it (description; with no facts its name) answers in its place
    popular     entities by the facts that they are part of
    rules       chains found beside the facts, counted on them
    scratch     a DRUM trained on those facts as its only queries, 20 epochs

Prints a table, appends a line for each seed to results/unseen_relations.jsonl.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from corollary.cli.output import print_table, say
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph, write_graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.learners.counted_rules import CountedRules
from corollary.learners.drum.learner import Drum
from corollary.learners.drum.relation_features import HASHED, KNOWN
from corollary.learners.drum.unseen import AdaptingConfig
from corollary.learners.protocol import Queries, Scorer
from corollary.randomness import generator
from corollary.rules.mining import Mining, mine
from corollary.runs.drum.elsewhere import moved
from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.options import DrumOptions
from corollary.runs.rules.kind import train_links
from corollary.runs.run import Run
from record import machine_line, write_line

KNOWN_FACTS = (0, 1, 5)
MOST_ASKED = 200  # facts of an unseen relation that are ranked
SCRATCH_EPOCHS = 20  # over the few facts
LEAST_FACTS = 10  # a relation with fewer is not taken out


def main() -> None:
    """Cut, train, ask, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rule-length", type=int, default=2)
    given = parser.parse_args()
    folder = Path(os.environ["COROLLARY_DATA"]) / "kge" / given.data
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        with tempfile.TemporaryDirectory() as place:
            whole = import_graph(
                Path(place) / "whole", ImportConfig.build({"files": [str(folder)]}, where="bench")
            )
            one_seed(whole, Path(place), given, seed)


def one_seed(whole: Graph, place: Path, given: argparse.Namespace, seed: int) -> None:
    """One draw of unseen relations."""
    facts = np.unique(np.concatenate([whole.triples(split) for split in whole.splits]), axis=0)
    seen, unseen = drawn_relations(facts, whole.num_relations, seed)
    names = [whole.relations.label(r) for r in (*seen, *unseen)]
    numbers = np.full(whole.num_relations, -1)
    numbers[[*seen, *unseen]] = np.arange(len(names))
    facts = facts[numbers[facts[:, 1]] >= 0]
    facts[:, 1] = numbers[facts[:, 1]]
    ours, theirs = facts[facts[:, 1] < len(seen)], facts[facts[:, 1] >= len(seen)]
    ours = ours[generator(seed, "split").permutation(len(ours))]
    cut = len(ours) // 20
    labels = list(whole.entities.labels)
    graph = write_graph(
        place / "seen", name=given.data, labels=labels, relations=names[: len(seen)],
        triples={"train": ours[cut:], "valid": ours[:cut]},
    )  # fmt: skip
    begun = time.perf_counter()
    runs = {
        name: train_drum(graph, place / name, options(given, seed, **changes), say=say)
        for name, changes in (("generated", {"generated": True}), ("plain", {}))
    }
    seconds = time.perf_counter() - begun
    rows, found = [], {}
    for known in KNOWN_FACTS:
        other = with_few(theirs, known, seed, place, names, labels, ours[cut:])
        for name, scorer in scorers(runs, other, len(seen), known, given, seed).items():
            both = rank_split(scorer, other, "test", resamples=0).figures.sides["both"]["realistic"]
            found[f"{name}, {known} facts"] = {"mrr": both.mrr, "hits@10": both.hits[10]}
            rows.append([known, name, both.mrr, both.hits[10]])
    print_table(["facts", "way", "mrr", "hits@10"], rows)
    about = {
        "data": given.data, "seed": seed, "epochs": given.epochs, "rule_length": given.rule_length, "seen": len(seen),
        "unseen": [names[r] for r in range(len(seen), len(names))], "train_seconds": seconds,
    }  # fmt: skip
    write_line("unseen_relations", {**machine_line(), **about, "found": found})


def drawn_relations(facts: Int[np.ndarray, "n 3"], count: int, seed: int) -> tuple[list[int], list[int]]:
    """A fifth of the relations that have enough facts, and the others that have any."""
    sizes = np.bincount(facts[:, 1], minlength=count)
    large = np.flatnonzero(sizes >= LEAST_FACTS)
    unseen = np.sort(generator(seed, "unseen").permutation(large)[: round(len(large) / 5)])
    return np.setdiff1d(np.flatnonzero(sizes), unseen).tolist(), unseen.tolist()


def with_few(
    theirs: Int[np.ndarray, "n 3"], known: int, seed: int, place: Path, names: list[str], labels: list[str],
    train: Int[np.ndarray, "m 3"],
) -> Graph:  # fmt: skip
    """The seen facts with a few of each unseen relation; others are asked for, and the rest is only filtered."""
    few, asked, rest = [], [], []
    for relation in np.unique(theirs[:, 1]).tolist():
        mine = theirs[theirs[:, 1] == relation]
        mine = mine[generator(seed, "support", relation).permutation(len(mine))]
        few.append(mine[:known])
        asked.append(mine[max(KNOWN_FACTS) :][:MOST_ASKED])
        rest.append(np.concatenate([mine[known : max(KNOWN_FACTS)], mine[max(KNOWN_FACTS) + MOST_ASKED :]]))
    triples = {
        "train": np.concatenate([train, *few]),
        "valid": np.concatenate(rest),
        "test": np.concatenate(asked),
    }
    filled = {split: rows for split, rows in triples.items() if len(rows)}
    return write_graph(place / f"with-{known}", name="unseen", labels=labels, relations=names, triples=filled)


def options(given: argparse.Namespace, seed: int, **changes: Any) -> DrumOptions:
    """Of every training here; rules are hardly taken out, since other rules are asked."""
    model = {"rule_length": given.rule_length, **changes}
    table = {
        "seed": seed, "model": model, "training": {"epochs": given.epochs},
        "extracting": {"facts": 2, "walks": 100, "candidates": 0},
    }  # fmt: skip
    return DrumOptions.build(table, where="bench")


def scorers(
    runs: Mapping[str, Run], other: Graph, seen: int, known: int, given: argparse.Namespace, seed: int
) -> Mapping[str, Scorer]:
    """Every way to answer, by name."""
    places = np.arange(seen)
    found: dict[str, Scorer] = {}
    for name, steps in (("generated", 0), ("adapted", 50 if known else 0)):
        run_options = runs["generated"].options
        assert isinstance(run_options, DrumOptions)
        found[name] = moved(runs["generated"], run_options, other, places, None, AdaptingConfig(steps=steps))
    described = found["generated"].members[0].learner.generator.described  # type: ignore[attr-defined]
    found["copy"] = Copy(runs["plain"].scorer, most_alike(described, seen, known), other.num_relations, seen)  # type: ignore[arg-type]
    found["popular"] = Popular(other)
    if known:
        targets = list(range(seen, other.num_relations))
        rules = mine(
            train_links(other),
            other.num_relations,
            targets=targets,
            mining=Mining(min_support=1, constants=False),
        )
        found["rules"] = CountedRules(rules, train_links(other))
        unseen = tuple(other.relations.label(r) for r in targets)
        few = options(given, seed)
        scratch = few.changed(targets=unseen, training=few.training.changed(epochs=SCRATCH_EPOCHS))
        found["scratch"] = train_drum(other, other.path.parent / f"scratch-{known}", scratch).scorer
    return found


def most_alike(described: Tensor, seen: int, known: int) -> Int[np.ndarray, " unseen"]:
    """For each unseen relation the seen one with the nearest description, by cosine; with no facts its name alone."""
    count = len(described) // 2
    rows = described[:count]
    part = rows[:, KNOWN : KNOWN + HASHED] if known == 0 else rows[:, : KNOWN + HASHED]
    part = torch.nn.functional.normalize(part, dim=1)
    return (part[seen:] @ part[:seen].T).argmax(1).numpy()


class Copy:
    """A seen relation answers for each unseen one."""

    def __init__(self, learner: Drum, alike: Int[np.ndarray, " unseen"], count: int, seen: int) -> None:
        self.learner, self.num_entities, self.device = learner, learner.num_entities, learner.device
        self._forward = torch.from_numpy(np.concatenate([np.arange(seen), alike]))
        self._count, self._seen = count, seen

    def prepare(self, queries: Queries) -> Tensor:
        """Asked with the other relation's number."""
        directed = queries.relation_ids
        relations = self._forward[directed % self._count] + (directed >= self._count) * self._seen
        return self.learner.prepare(Queries(queries.entity_ids, relations))

    def scores(self, prepared: Tensor, rows: slice, out: Tensor | None = None) -> Tensor:
        """As the model does."""
        return self.learner.scores(prepared, rows, out)


class Popular:
    """Entities by the number of training facts that they are part of."""

    def __init__(self, graph: Graph) -> None:
        ends = np.asarray(graph.triples("train"))[:, [0, 2]].ravel()
        self._degrees = torch.from_numpy(np.bincount(ends, minlength=graph.num_entities)).float()
        self.num_entities, self.device = graph.num_entities, torch.device("cpu")

    def prepare(self, queries: Queries) -> int:
        """Nothing depends on the question."""
        return len(queries)

    def scores(self, prepared: int, rows: slice, out: Tensor | None = None) -> Tensor:
        """The same for every query."""
        found = self._degrees[rows].expand(prepared, -1)
        return found if out is None else out.copy_(found)


if __name__ == "__main__":
    main()
