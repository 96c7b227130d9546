"""How well do counted rules alone rank, in how long, with chains and with constants, by aggregation?

`python bench/counted_rules.py GRAPH --aggregations maxplus noisy-or` mines chains of up to three steps, then rules with
constants beside them, on the training triples, and ranks all test triples by each aggregation: ranks expected over
ties. Nothing is drawn but the facts beside which chains are looked for, where a relation has more than 5,000; so one
seed. Appends a line a case to results/counted_rules.jsonl.
"""

import argparse
import time
from pathlib import Path

import torch

from corollary.budget import peak_bytes, restart_peak
from corollary.cli.output import print_table, say
from corollary.evaluation.ranking import rank_split
from corollary.graph.folder import Graph
from corollary.learners.counted_rules import CountedRules
from corollary.rules.applying import AGGREGATIONS, Applying
from corollary.rules.counting import Counting
from corollary.rules.mining import Mining, mine
from corollary.runs.rules.kind import train_links
from record import machine_line, write_line


def main() -> None:
    """Mine, rank, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--aggregations", nargs="+", choices=AGGREGATIONS, default=["maxplus"])
    parser.add_argument("--longest", type=int, default=3)
    parser.add_argument("--min-support", type=int, default=2)
    parser.add_argument("--only", choices=["chains", "constants"], help="one of the two")
    options = parser.parse_args()
    graph, rows = Graph.open(options.graph), []
    links = train_links(graph)
    for constants in (False, True):
        if options.only and (options.only == "constants") != constants:
            continue
        restart_peak()
        begun = time.perf_counter()
        mining = Mining(longest=options.longest, constants=constants, min_support=options.min_support)
        how = Counting(parts=torch.get_num_threads())
        rules = mine(links, graph.num_relations, mining=mining, how=how, say=say)
        mined = time.perf_counter() - begun
        for aggregation in options.aggregations:
            begun = time.perf_counter()
            scorer = CountedRules(rules, links, Applying(aggregation=aggregation))
            figures = rank_split(scorer, graph, "test", resamples=0).figures.sides["both"]
            found = {
                "mrr": figures["realistic"].mrr,
                "hits@1": figures["realistic"].hits[1],
                "hits@10": figures["realistic"].hits[10],
                "mrr optimistic": figures["optimistic"].mrr,
                "rules": len(rules),
                "mine_seconds": mined,
                "rank_seconds": time.perf_counter() - begun,
                "peak_bytes": peak_bytes(),
            }
            case = {"graph": graph.name, "constants": constants, "aggregation": aggregation,
                    "longest": options.longest, "min_support": options.min_support}  # fmt: skip
            write_line("counted_rules", {**machine_line(), **case, **found})
            rows.append(["with constants" if constants else "chains", aggregation, *found.values()])
    print_table(["rules", "aggregation", *found], rows)


if __name__ == "__main__":
    main()
