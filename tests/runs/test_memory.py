"""A run keeps to its plan, and a smaller limit gives the same bytes. Every run is a process of its own."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from corollary.budget import MIB
from corollary.graph.folder import write_graph

RELATIONS = 10


def random_graph(path: Path, entities: int) -> Path:
    """Few triples over many entities: the table is what is large."""
    rng = np.random.default_rng(0)

    def triples(count):
        columns = (rng.integers(0, most, count) for most in (entities, RELATIONS, entities))
        return np.stack(list(columns), 1).astype(np.int32)

    write_graph(
        path,
        name="random",
        labels=[f"e{i}" for i in range(entities)],
        relations=[f"r{i}" for i in range(RELATIONS)],
        triples={"train": triples(900), "valid": triples(50), "test": triples(50)},
    )
    return path


@pytest.fixture(scope="session")
def graphs(tmp_path_factory):
    """Graphs by number of entities, made once."""
    made = {}

    def graph(entities):
        if entities not in made:
            made[entities] = random_graph(tmp_path_factory.mktemp("random") / "graph", entities)
        return made[entities]

    return graph


def corollary(*arguments: str) -> str:
    """The command in a process of its own; what it printed."""
    program = "from corollary.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def train(graph: Path, output: Path, *options: str) -> Path:
    """One epoch."""
    few = ["--num-epochs", "1", "--set", "evaluation.resamples=20"]
    corollary("train", "conve", str(graph), "-o", str(output), *few, *options)
    return output


def below_memory(graph: Path) -> str:
    """A limit that a table in memory does not quite fit."""
    plan = json.loads(corollary("plan", "conve", str(graph), "--use-gradient-checkpointing", "--json"))
    return str(plan["total"] - 5 * MIB)


def learned(run: Path) -> dict[str, str]:
    """Checksums of all weights, moments and figures."""
    files = sorted((run / "checkpoints" / "epoch-0001").glob("*.safetensors"))
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    return found | {"figures": json.dumps(evaluation["figures"])}


CASES = {
    "small": (500, ["--batch-size", "128"]),
    "large batch, recompute": (500, ["--batch-size", "1024", "--use-gradient-checkpointing"]),
    "average, whole gradient": (
        20_000,
        ["--set", "training.average_decay=0.99", "--set", "training.clip_norm=1"],
    ),
    "no cleanup, bf16": (20_000, ["--disable-memory-cleanup", "--use-mixed-precision"]),
    "sgd, narrow": (60_000, ["--embedding-dim", "60", "--set", "training.optimizer.name=sgd"]),
    "adagrad, bce": (
        60_000,
        ["--set", "training.optimizer.name=adagrad", "--set", "model.loss=binary_cross_entropy"],
    ),
    "on disk": (60_000, ["--memory-limit", "below memory"]),
}


@pytest.mark.parametrize("case", CASES)
def test_measured_is_at_most_planned_and_planned_at_most_three_tenths_more(graphs, tmp_path, case):
    """Resident memory of the whole process, interpreter and mapped pages included."""
    entities, options = CASES[case]
    graph = graphs(entities)
    options = [below_memory(graph) if option == "below memory" else option for option in options]
    run = train(graph, tmp_path / "run", *options)
    memory = json.loads((run / "memory.json").read_text(encoding="utf-8"))
    planned, measured = memory["planned_bytes"], memory["peak_bytes"]
    parts = json.loads((run / "config.json").read_text(encoding="utf-8"))["plan"]["parts"]
    told = f"planned {planned / MIB:.0f}, measured {measured / MIB:.0f} MiB: {parts}"
    assert measured <= planned, told
    assert planned <= 1.3 * measured, told


def test_a_smaller_limit_gives_the_same_bytes(graphs, tmp_path):
    """Everything in memory; maps made again; table on disk: the same weights, moments and figures."""
    graph = graphs(60_000)
    free = train(graph, tmp_path / "free")
    plan = json.loads((free / "config.json").read_text(encoding="utf-8"))["plan"]
    assert (plan["table"], plan["recompute"]) == ("device", False)
    again = train(graph, tmp_path / "again", "--use-gradient-checkpointing")
    disk = train(graph, tmp_path / "disk", "--memory-limit", below_memory(graph))
    assert json.loads((disk / "config.json").read_text(encoding="utf-8"))["plan"]["table"] == "disk"
    assert learned(free) == learned(again) == learned(disk)
