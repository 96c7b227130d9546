"""How long is a training step of DRUM, how much memory does it take, and does it grow with the relations?

`python bench/drum_step.py` times steps (loss, gradients, Adam) on a random graph of 3,000 entities and 30,000 facts with
100 and with 600 relations, and beside the first the per-operator way in plain torch: one sparse product an operator,
component and step, kept by autograd. `python bench/drum_step.py GRAPH --rule-length 3` times a graph folder. A process
each; appends one line a case to results/drum_step.jsonl.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corollary.budget import peak_bytes, resident_bytes, restart_peak
from corollary.cli.output import print_table
from corollary.graph.folder import Graph
from corollary.learners.drum.config import DrumConfig
from corollary.learners.drum.data import DrumData, reached_sides
from corollary.learners.drum.learner import Drum
from corollary.rules.rule import links_of
from corollary.runs.drum.steps import DrumSteps, DrumTraining
from record import machine_line, write_line

ENTITIES, FACTS, BATCH, COMPONENTS, SEED = 3000, 30_000, 64, 3, 0


def main() -> None:
    """One process a case, so that peaks are of that case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, nargs="?")
    parser.add_argument("--rule-length", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.case, options)))
        return
    cases = [f"graph:{options.graph}"] if options.graph else ["fused:100", "operators:100", "fused:600"]
    rows = []
    for case in cases:
        words = [
            sys.executable,
            __file__,
            "--case",
            case,
            "--rule-length",
            options.rule_length,
            "--steps",
            options.steps,
        ]
        out = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout
        found = json.loads(out.splitlines()[-1])
        rows.append([case.split("/")[-1], *found.values()])
        shown = f"graph:{options.graph.name}" if options.graph else case
        line = {"case": shown, "rule_length": options.rule_length, "batch": BATCH, "components": COMPONENTS}
        write_line("drum_step", {**machine_line(), **line, **found})
    print_table(["case", *found], rows)


def measured(case: str, options: Any) -> dict[str, float]:
    """Seconds of a step (after one that compiles) and growth of resident memory over what was held before it."""
    way, _, what = case.partition(":")
    if way == "graph":
        graph = Graph.open(what)
        entities, relations = graph.num_entities, graph.num_relations
        triples = np.asarray(graph.triples("train")).astype(np.int64)
    else:
        entities, relations = ENTITIES, int(what)
        rng = np.random.default_rng(SEED)
        triples = np.stack([rng.integers(0, n, FACTS) for n in (entities, relations, entities)], axis=1)
    config = DrumConfig(rule_length=options.rule_length, components=COMPONENTS, batch_size=BATCH)
    learner = Drum(config, num_entities=entities, num_relations=relations, seed=SEED)
    data = DrumData(relations, links_of(triples, entities, relations), np.unique(triples, axis=0))
    if way == "graph":
        some = np.random.default_rng(SEED).permutation(len(data.triples))[: BATCH * (options.steps + 2)]
        data.triples = data.triples[np.sort(some)]
    data.reached = reached_sides(data, config.rule_length, data.triples)
    data.triples, data.reached = data.triples[data.reached.all(1)], data.reached[data.reached.all(1)]
    learner.walk_on(data)
    batches = learner.batches(None, seed=SEED, epoch=0)
    steps = DrumSteps(learner, DrumTraining())
    work = (
        (lambda batch, n: steps.update([batch], lr=1e-3, update=n))
        if way != "operators"
        else per_operator(learner)
    )
    times = []
    numbers = range(min(options.steps if way != "operators" else 3, len(batches)))
    for number in numbers:
        batch = batches[number]
        if number == (
            1 if way != "operators" else 0
        ):  # compiled code is loaded; torch keeps what it took once
            held = resident_bytes()
            restart_peak()
        begun = time.perf_counter()
        work(batch, number + 1)
        times.append(time.perf_counter() - begun)
    p20, p50, p80 = (
        np.quantile(times[1:], [0.2, 0.5, 0.8]).tolist()
        if len(times) > 5
        else [statistics.median(times[1:])] * 3
    )
    return {
        "p20": p20,
        "p50": p50,
        "p80": p80,
        "growth_mib": (peak_bytes() - held) / 2**20,
        "examples": len(batch),
    }


def per_operator(learner: Drum) -> Any:
    """The authors' way: x times each operator's sparse matrix, weighted and added, for every component and step."""
    data, config = learner.data, learner.config
    assert data is not None
    entities, relations = learner.num_entities, learner.num_relations
    matrices = []
    for step in range(2 * relations):
        rows = data.triples[data.triples[:, 1] == step % relations]
        source, target = (rows[:, 0], rows[:, 2]) if step < relations else (rows[:, 2], rows[:, 0])
        places = torch.from_numpy(np.stack([target, source]))
        matrices.append(
            torch.sparse_coo_tensor(places, torch.ones(len(rows)), (entities, entities)).coalesce()
        )
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)

    def step(batch: Any, number: int) -> None:
        attention = learner.log_attention(batch.relations).exp()
        owner = torch.from_numpy(np.repeat(np.arange(len(batch.relations)), np.diff(batch.bounds)))
        total = 0.0
        for component in range(config.components):
            state = torch.zeros(entities, len(batch))
            state[torch.from_numpy(batch.starts), torch.arange(len(batch))] = 1.0
            for at in range(config.rule_length):
                weight = attention[owner, at, :, component]
                made = state * weight[:, -1]
                for operator, matrix in enumerate(matrices):
                    made = made + torch.sparse.mm(matrix, state) * weight[:, operator]
                state = made / made.sum(0).clamp(min=1e-20)
            total = total + state[torch.from_numpy(batch.answers), torch.arange(len(batch))]
        optimizer.zero_grad()
        (-total.clamp(min=1e-12).log().mean()).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
