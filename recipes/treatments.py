"""Drugs of held-out diseases: HGT beside what it must beat. `python recipes/treatments.py hetionet random rows external`.

recipes/treatments/NAME.toml                          graph, pairs, options of HGT and ConvE
recipes/results/treatments-NAME/SCHEME.json           figures of every score, and HGT's paired difference from each
recipes/results/treatments-NAME/embeddings.json       effective ranks and verdicts of the embeddings, run by run

SCHEME: `random` (pairs), `rows` (whole diseases), `external` (a list from outside, models trained on all that is known).
Every score ranks all drugs for a disease; known pairs compete with nobody, ties count in the middle, intervals draw
diseases. Folds of all seeds are stacked. A recipe that was stopped goes on where it was.
"""

import argparse
import csv
import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # models this small train faster on one thread

import numpy as np
import torch

from corollary.cli.output import say
from corollary.config import read_table, with_overrides
from corollary.graph.datasets.importing import import_dataset
from corollary.graph.filters import FilterConfig
from corollary.graph.folder import Graph, derive_graph
from corollary.graph.subset import subset_graph
from corollary.learners.protocol import Queries
from corollary.randomness import generator
from corollary.repurpose.config import BaselineConfig
from corollary.repurpose.figures.judging import difference, judge
from corollary.repurpose.pair_files import read_places
from corollary.repurpose.pairs import Fold, Pairs, read_pairs
from corollary.repurpose.splitting import external_fold, random_folds, truth_of
from corollary.repurpose.untrained import Untrained
from corollary.runs.hgt.embedding import embed
from corollary.runs.kinds import kind_of
from corollary.runs.run import Run
from corollary.runs.training import resume, train
from corollary.runs.validating import validate_embeddings
from corollary.storage import write_text

HERE = Path(__file__).parent
FOLDS = 5
FIGURES = ("mrr", "hits@10", "average_precision", "auroc")
UNTRAINED = ("degree product", "similar columns", "all three")
Scores = np.ndarray
"""Asked rows x columns; higher is better."""


def main() -> None:
    """Parse, and make each scheme."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a recipe, such as hetionet")
    parser.add_argument("schemes", nargs="+", choices=["random", "rows", "external"])
    parser.add_argument("--output", type=Path, default=Path("runs"), help="where graphs and runs go")
    parser.add_argument("--seeds", type=int, nargs="+", help="other seeds than the recipe's")
    parser.add_argument("--members", type=int, help="HGTs of a fold; as many as the recipe says if not given")
    parser.add_argument("--without-conve", action="store_true", help="it takes the most time")
    options = parser.parse_args()
    table = read_table(HERE / "treatments" / f"{options.name}.toml")
    table["recipe"]["members"] = options.members or table["recipe"]["members"]
    output = options.output / f"treatments-{options.name}"
    recipe = Recipe(table, output, with_conve=not options.without_conve)
    results = HERE / "results" / f"treatments-{options.name}"
    for scheme in options.schemes:
        seeds = [0] if scheme == "external" else options.seeds or table["recipe"]["seeds"]
        found = recipe.figures(scheme, seeds)
        results.mkdir(parents=True, exist_ok=True)
        write_text(results / f"{scheme}.json", json.dumps(found, indent=1) + "\n")
        print("\n".join(rows_of(found)))
    write_text(results / "embeddings.json", json.dumps(recipe.health(), indent=1) + "\n")


class Recipe:
    """The graphs and pairs of one recipe, and what is made of them."""

    def __init__(self, table: Mapping[str, Any], output: Path, *, with_conve: bool) -> None:
        self.table, self.output, self.with_conve = table, output, with_conve
        output.mkdir(parents=True, exist_ok=True)
        whole, near = output / "graph", output / "near"
        dataset = table["recipe"]["dataset"]
        self.whole = Graph.open(whole) if whole.exists() else import_dataset(dataset, whole, say=say)
        cut = FilterConfig.build(table["graph"])
        self.near = (
            Graph.open(near) if near.exists() else subset_graph(self.whole, near, cut, keep_vocabulary=False)
        )
        relation = table["recipe"]["relation"]
        self.pairs, self.seen = (read_pairs(graph, relation) for graph in (self.whole, self.near))
        assert self.pairs.columns.labels == self.seen.columns.labels, "both graphs hold the same columns"
        assert self.pairs.rows.labels == self.seen.rows.labels, "both graphs hold the same rows"
        self.untrained = Untrained.of(self.whole, self.pairs, BaselineConfig.build(table["baseline"]))

    def figures(self, scheme: str, seeds: list[int]) -> dict[str, Any]:
        """Every score judged on the folds of the seeds together."""
        folds = [self.fold(scheme, seed) for seed in seeds]
        scored = [self.scores(fold, seed) for fold, seed in zip(folds, seeds, strict=True)]
        truth = truth_of(self.pairs, folds)
        judged = {name: judge(np.concatenate([one[name] for one in scored]), truth) for name in scored[0]}
        return {
            "scheme": scheme,
            "folds": [fold.name for fold in folds],
            "seeds": seeds,
            "pairs": len(truth.asked),
            "options": self.table,
            "scores": {name: shown(one.judgement.figures) for name, one in judged.items()},
            "hgt_less": {
                name: shown({figure: difference(judged["hgt"], judged[name], figure) for figure in FIGURES})
                for name in judged
                if name != "hgt"
            },
            "runs": [one.stem for one in sorted((self.output / "runs").iterdir())],
        }

    def fold(self, scheme: str, seed: int) -> Fold:
        """What one seed holds out; its number stands in the name."""
        if scheme == "external":
            places, missed = read_places(self.listed(), self.pairs, self.whole)
            return external_fold(self.pairs, places, missed, say)
        return replace(held_out(self.pairs, scheme, seed), name=f"{scheme}-seed-{seed}")

    def listed(self) -> Path:
        """The list from outside as head and tail: lines that no catalogue category claims."""
        path = self.output / "external.tsv"
        file = Path(os.environ.get("COROLLARY_DATA", "data")) / self.table["recipe"]["external"]
        with gzip.open(file, "rt", encoding="utf-8") as text:
            rows = [row for row in csv.DictReader(text, delimiter="\t") if not row["category"]]
        lines = [f"Compound::{row['drugbank_id']}\tDisease::{row['doid_id']}\n" for row in rows]
        write_text(path, "".join(lines))
        return path

    def scores(self, fold: Fold, seed: int) -> dict[str, Scores]:
        """Untrained scores, ConvE, HGT and the mean of several HGTs that differ in their seed, for a fold."""
        counted = self.untrained.scores(fold.visible(self.pairs), fold.asked)
        members = [
            self.model_scores("hgt", fold, 100 * seed + number)
            for number in range(self.table["recipe"]["members"])
        ]
        found = {"hgt": members[0]}
        if len(members) > 1:
            found[f"mean of {len(members)} hgt"] = np.mean(members, axis=0)
        if self.with_conve:
            found["conve"] = self.model_scores("conve", fold, seed)
        return found | {name: counted[name] for name in UNTRAINED}

    def model_scores(self, learner: str, fold: Fold, seed: int) -> Scores:
        """Scores of a model trained on what the fold may see."""
        run = self.trained(learner, fold, seed)
        scorer, near = run.scorer, self.near
        relation = near.relations.find(self.seen.relation, where=str(near.path)) + near.num_relations
        asked = torch.from_numpy(self.seen.rows.entities[fold.asked])
        prepared = scorer.prepare(Queries(asked, torch.full_like(asked, relation)))
        block = run.folder.config["plan"]["block_rows"]
        tiles = [
            scorer.scores(prepared, slice(start, min(start + block, near.num_entities))).clone()
            for start in range(0, near.num_entities, block)
        ]
        return torch.cat(tiles, 1)[:, torch.from_numpy(self.seen.columns.entities)].numpy()

    def trained(self, learner: str, fold: Fold, seed: int) -> Run:
        """The run, made once."""
        path = self.output / "runs" / f"{fold.name}-{learner}-{seed}"
        if (path / "report.html").exists():
            return Run.open(path)
        if path.exists():
            return resume(path, say=say)
        place = self.output / "folds" / fold.name
        graph = Graph.open(place) if place.exists() else self.without(fold, place)
        kind, scheme = kind_of(learner), fold.name.partition("-")[0]
        more = [
            f"{key}={json.dumps(value)}"
            for key, value in self.table["recipe"].get(f"{learner}_{scheme}", {}).items()
        ]
        settings = [*more, f"seed={seed}", "evaluation.checkpoint=final"]
        options = kind.options.build(with_overrides(self.table[learner], settings))
        say(f"{path.name}: training")
        return train(kind, graph, path, options)

    def without(self, fold: Fold, place: Path) -> Graph:
        """The graph without the pairs that the fold hides."""
        triples = np.asarray(self.near.triples("train"))
        hidden = self.seen.known[fold.hidden]
        keys = [
            self.seen.columns.entities[hidden[:, 1]] * self.near.num_entities
            + self.seen.rows.entities[hidden[:, 0]],
            triples[:, 0].astype(np.int64) * self.near.num_entities + triples[:, 2],
        ]
        gone = np.isin(keys[1], keys[0]) & (triples[:, 1] == self.seen.relation_id)
        assert gone.sum() == len(hidden)
        return derive_graph(self.near, place, triples={"train": triples[~gone]})

    def health(self) -> dict[str, Any]:
        """Of the embeddings of every HGT run that was made."""
        found = {}
        for path in sorted((self.output / "runs").glob("*-hgt-*")):
            file = path / "embeddings.parquet"
            if not file.exists():
                embed(Run.open(path), file)
            health = validate_embeddings(file)
            found[path.name] = {
                "verdict": health.verdict,
                "reasons": list(health.reasons),
                "effective_rank": {one.name: one.effective_rank for one in health.types},
                "leaked_pairs": json.loads((path / "audit.json").read_text())["leaked_pairs"],
                "canary_at_chance": json.loads((path / "audit.json").read_text())["canary"]["at_chance"],
                "train_seconds": seconds_of(path),
            }
        return found


def held_out(pairs: Pairs, scheme: str, seed: int) -> Fold:
    """A fifth of the known pairs, or all pairs of a fifth of the rows that have one."""
    if scheme == "random":
        return random_folds(pairs, FOLDS, seed)[0]
    with_known = np.flatnonzero(pairs.row_counts)
    rows = np.sort(generator(seed, "held out").permutation(with_known)[: round(len(with_known) / FOLDS)])
    hidden, negatives = (np.isin(places[:, 0], rows) for places in (pairs.known, pairs.negatives))
    return Fold(scheme, hidden, negatives, rows, pairs.known[hidden], whole_rows=True)


def seconds_of(run: Path) -> float:
    """Of training, wall-clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return round(sum(line["seconds"] for line in lines), 1)


def shown(figures: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Value and interval of the figures that are reported."""
    return {
        name: {"value": figures[name].value, "low": figures[name].low, "high": figures[name].high}
        for name in FIGURES
    }


def rows_of(found: Mapping[str, Any]) -> list[str]:
    """The table of docs/hgt.md that shows these results, line by line."""
    lines = [f"| {found['scheme']} | {' | '.join(FIGURES)} | hgt less it, MRR |", "| --- |" + " ---: |" * 5]
    for name, figures in found["scores"].items():
        cells = [interval(figures[figure]) for figure in FIGURES]
        gap = interval(found["hgt_less"][name]["mrr"], "+") if name in found["hgt_less"] else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {gap} |")
    return lines


def interval(figure: Mapping[str, float | None], sign: str = "") -> str:
    """A figure with the ends of its interval."""
    text = f"{figure['value']:{sign}.3f}"
    if figure["low"] is None:
        return text
    return f"{text} ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"


if __name__ == "__main__":
    main()
