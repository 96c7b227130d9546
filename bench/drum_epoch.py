"""How long is an epoch of DRUM on a large graph, how well does the model rank after it, and how well do its rules?

First `corollary train drum GRAPH -o RUN --rule-length 3 --num-epochs 1 --set model.queries=split --set extracting.facts=2
--set extracting.walks=1000 --set extracting.candidates=0` (a quarter of train is asked for, drawn by the seed), then
`python bench/drum_epoch.py RUN`, which ranks all test triples with the model of the run, ties expected, takes the figures of
its counted rules from its folder, and appends a line to results/drum_epoch.jsonl.
"""

import argparse
import time
from pathlib import Path

from corollary.cli.output import print_table
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.runs.drum.asking import reach
from corollary.runs.drum.planning import CHUNK
from corollary.runs.run import Run
from record import machine_line, write_line


def main() -> None:
    """Rank, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    run = Run.open(parser.parse_args().run)
    graph, options = run.graph, run.options
    begun = time.perf_counter()
    sides = rank_split(run.scorer, graph, "test", chunk=CHUNK, resamples=0).figures.sides["both"]
    lines = run.folder.metrics()
    found = {
        "mrr": sides["realistic"].mrr,
        "hits@1": sides["realistic"].hits[1],
        "hits@10": sides["realistic"].hits[10],
        "mrr optimistic": sides["optimistic"].mrr,
        "reached": reach(graph, options, graph.triples("test")),
        "rank_seconds": time.perf_counter() - begun,
        "epoch_seconds": lines[-1]["seconds"],
        "steps": lines[-1]["updates"],
        "peak_bytes": run.folder.read_json("memory.json")["peak_bytes"],
        "planned_bytes": sum(run.folder.config["plan"]["parts"].values()),
    }
    counted = Evaluation.model_validate(run.folder.read_json("rules_evaluation.json")).metrics.values()
    found |= {"rules": run.folder.read_json("rules.json")["rules"]}
    found |= {f"rules {name}": counted[name] for name in ("mrr", "hits@10")}
    about = {
        "graph": graph.name,
        "seed": options.seed,
        "epochs": len(lines),
        "model": options.model.model_dump(mode="json"),
        "extracting": options.extracting.model_dump(mode="json"),
    }
    print_table(list(found), [list(found.values())])
    write_line("drum_epoch", {**machine_line(), **about, **found})


if __name__ == "__main__":
    main()
