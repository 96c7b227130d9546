"""Do several runs together beat the best of them?

`python bench/ensemble.py RUN RUN ...` ranks the test triples by every run and by both fusions, whose weights are learned
on validation triples. Appends one line to results/ensemble.jsonl.
"""

import argparse
import time
from pathlib import Path

from corollary.cli.output import print_table, say
from corollary.evaluation.ranking import rank_split
from corollary.runs.ensembling import METHODS, fit_ensemble
from corollary.runs.run import Run
from record import machine_line, write_line


def main() -> None:
    """Rank, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders on one graph")
    options = parser.parse_args()
    runs = [Run.open(path) for path in options.runs]
    figures = {run.folder.name: rank_split(run.scorer, run.graph, "test").metrics.values() for run in runs}
    best = max(values["mrr"] or 0 for values in figures.values())
    weights = {}
    for method in METHODS:
        started = time.perf_counter()
        together = fit_ensemble(runs, method, say=say)
        weights[method] = together.named_weights()
        figures[method] = together.evaluate("test").metrics.values()
        say(f"{method}: {time.perf_counter() - started:.0f} s, {weights[method]}")
    names = ["mrr", "hits@1", "hits@10"]
    print_table(["", *names], [[name, *(values[n] for n in names)] for name, values in figures.items()])
    gain = {method: (figures[method]["mrr"] or 0) - best for method in METHODS}
    learners = {run.folder.name: run.kind.name for run in runs}
    line = {**machine_line(), "graph": runs[0].graph.name, "learners": learners, "weights": weights}
    write_line("ensemble", {**line, "figures": figures, "gain_over_best": gain})


if __name__ == "__main__":
    main()
