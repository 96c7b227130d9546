"""Six hundred targets over eight background predicates: which rules are found, by what, and how good are they?

The generator: 2,800 entities, 3,800 facts of eight background predicates; 600 targets, each a random body over them.
Two thirds are chains of one to three steps in random directions; one third are conjunctions of a chain from X to Y and
a step from X to anything, which no single chain expresses. The facts of a target are all pairs of its body, variables
different, one in five held out; bodies with fewer than 5 or more than 60 pairs are drawn again.

`python bench/many_targets.py` trains one DRUM on the train facts with bodies over the background alone, takes rules by
grounded extraction alone and with bottom-up candidates, counts them on the train facts, and compares with the best of
all chains of up to three steps (exhaustively, with bodies distinct as counted): macro-F1 on held-out facts of the best of
ten rules that train facts rank first, over all targets and over chain targets. Appends a line to
results/many_targets.jsonl.
"""

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from corollary.budget import peak_bytes
from corollary.cli.output import print_table, say
from corollary.graph.folder import Graph
from corollary.graph.importing import ImportConfig, import_graph
from corollary.rules.counting import count
from corollary.rules.rule import Rules, joined
from corollary.runs.drum.kind import train_drum
from corollary.runs.drum.models import extracted_rules
from corollary.runs.drum.options import DrumOptions
from corollary.runs.rules.kind import split_links, train_links
from record import machine_line, write_line

ENTITIES, BACKGROUND, FACTS, TARGETS, MOST, TOP = 2800, 8, 3800, 600, 60, 10


def main() -> None:
    """Make the graph, train, extract, count, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--target-batch-size", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        are_chains = write_graph(Path(place), options.seed)
        graph = import_graph(Path(place) / "graph", ImportConfig(files=(Path(place) / "data",)))
        line = measured(graph, are_chains, options, Path(place) / "run")
    print_table(["", "all targets", "chain targets"], [[n, *v] for n, v in line["macro_f1"].items()])
    write_line("many_targets", {**machine_line(), **vars(options), **line})


def write_graph(place: Path, seed: int) -> dict[str, bool]:
    """Files with facts, train and valid; and which targets are single chains."""
    rng = np.random.default_rng(seed)
    background = np.unique(
        np.stack([rng.integers(0, n, FACTS) for n in (ENTITIES, BACKGROUND, ENTITIES)], axis=1), axis=0
    )
    links = _steps(background)
    are_chains: dict[str, bool] = {}
    train, heldout = [], []
    while len(are_chains) < TARGETS:
        chain = len(are_chains) % 3 != 2
        found = sorted(_pairs(links, _body(rng), None if chain else int(rng.integers(2 * BACKGROUND))))
        if not 5 <= len(found) <= MOST:
            continue
        name = f"target{len(are_chains):03d}"
        are_chains[name] = chain
        for at, row in enumerate(rng.permutation(len(found)).tolist()):
            (heldout if at % 5 == 0 else train).append((f"e{found[row][0]}", name, f"e{found[row][1]}"))
    folder = place / "data"
    folder.mkdir(parents=True)
    named = [(f"e{h}", f"p{r}", f"e{t}") for h, r, t in background.tolist()]
    for file, rows in (("facts", named), ("train", train), ("valid", heldout)):
        (folder / f"{file}.txt").write_text("".join("\t".join(row) + "\n" for row in rows))
    return are_chains


def _steps(background: np.ndarray) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for head, relation, tail in background.tolist():
        found.setdefault((head, relation), []).append(tail)
        found.setdefault((tail, relation + BACKGROUND), []).append(head)
    return found


def _body(rng: np.random.Generator) -> list[int]:
    return rng.integers(0, 2 * BACKGROUND, rng.integers(1, 4)).tolist()


def _pairs(
    links: dict[tuple[int, int], list[int]], body: list[int], branch: int | None
) -> set[tuple[int, int]]:
    """Pairs of a chain whose variables are all different, from starts that also have the branch's step."""
    found = set()
    for start in range(ENTITIES):
        if branch is not None and not links.get((start, branch)):
            continue
        walks = [(start,)]
        for step in body:
            walks = [(*w, t) for w in walks for t in links.get((w[-1], step), ()) if t not in w]
        found |= {(start, walk[-1]) for walk in walks}
    return found


def measured(
    graph: Graph, are_chains: dict[str, bool], options: argparse.Namespace, place: Path
) -> dict[str, Any]:
    """F1 of grounded extraction, with candidates, and of all chains; seconds and bytes."""
    begun = time.perf_counter()
    settings = {"model": {"rule_length": 3, "facts_only": True, "extra_facts": False},
                "training": {"epochs": options.epochs, "validate_every": 5}, "extracting": {"candidates": 0, "top": 100},
                "seed": options.seed}  # fmt: skip
    if options.target_batch_size:
        settings["groups"] = {"target_batch_size": options.target_batch_size}
    config = DrumOptions.build(settings)
    run = train_drum(graph, place, config, say=say)
    trained = time.perf_counter() - begun
    say(f"trained and extracted in {trained:.0f} s")
    grounded = extracted_rules(run, config, say)
    begun_both = time.perf_counter()
    both = extracted_rules(run, config.changed(extracting=config.extracting.changed(candidates=1000)), say)
    seconds = {"train_and_extract": trained, "with_candidates": time.perf_counter() - begun_both}
    targets = [graph.relations.labels.rows_of(name)[0] for name in are_chains]
    ceiling = exhaustive(graph, targets)
    chosen = {"grounded": grounded, "with candidates": both, "all chains, chosen on train": ceiling}
    scores = {name: best_f1(rules, targets, train_first=True) for name, rules in chosen.items()}
    scores["all chains, chosen on held-out (ceiling)"] = best_f1(ceiling, targets, train_first=False)
    chain = np.array(list(are_chains.values()))
    return {
        "macro_f1": {name: (float(f1.mean()), float(f1[chain].mean())) for name, f1 in scores.items()},
        "seconds": seconds,
        "peak_bytes": peak_bytes(),
        "num_triples": dict(graph.info.num_triples),
    }


def exhaustive(graph: Graph, targets: list[int]) -> Rules:
    """All chains of up to three background steps that have any support, for every target."""
    labels = graph.relations.labels
    steps = [labels.rows_of(f"p{number}")[0] for number in range(BACKGROUND)]
    steps += [step + graph.num_relations for step in steps]
    bodies = [body for length in (1, 2, 3) for body in product(steps, repeat=length)]
    steps_of = np.full((len(bodies), 3), -1, np.int64)
    for row, body in enumerate(bodies):
        steps_of[row, : len(body)] = body
    links, valid, found = train_links(graph), split_links(graph, "valid"), []
    for first in range(0, len(targets), 50):
        some = np.array(targets[first : first + 50])
        rules = Rules.uncounted(
            graph.num_relations,
            heads=np.repeat(some, len(bodies)),
            bodies=np.tile(steps_of, (len(some), 1)),
        )
        rules = count(rules, links, heldout=valid)
        found.append(rules.take(rules.support + rules.heldout_support > 0))
    return joined(found, graph.num_relations)


def best_f1(rules: Rules, targets: list[int], *, train_first: bool) -> np.ndarray:
    """By target: F1 on held-out facts of the best of the ten rules that train facts rank first, or of all rules."""
    found = []
    for target in targets:
        mine = rules.take(rules.heads == target)
        precision = mine.support / np.maximum(mine.pairs, 1)
        recall = mine.support / np.maximum(mine.head_size, 1)
        on_train = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        rows = np.argsort(-on_train, kind="stable")[:TOP] if train_first else np.arange(len(mine))
        if not len(rows):
            found.append(0.0)
            continue
        some = mine.take(rows)
        new = np.maximum(some.pairs - some.support, 1)
        precision, recall = (
            some.heldout_support / new,
            some.heldout_support / np.maximum(some.heldout_size, 1),
        )
        found.append(float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()))
    return np.array(found)


if __name__ == "__main__":
    main()
