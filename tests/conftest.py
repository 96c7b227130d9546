"""Graphs that many tests share: a small real one and a tiny one. One thread a process, as pytest runs several."""

import csv
import os
import shutil
import signal
import threading
from importlib.resources import files
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # before torch and numba are imported
    os.environ.setdefault(
        variable, "1"
    )  # threads that wait for each other's cores made the tests four times slower

import numpy as np
import pytest

from corollary.graph.folder import Graph, write_graph


def _rows(name: str) -> list[list[str]]:
    text = (files("corollary") / "graph" / "countries" / name).read_text(encoding="utf-8")
    return list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def _cut(triples: np.ndarray, held_out: int) -> dict[str, np.ndarray]:
    """Train, and `held_out` triples each for validation and test, in an order that is always the same."""
    rows = np.random.default_rng(0).permutation(triples)
    return {
        "train": rows[2 * held_out :],
        "valid": rows[:held_out],
        "test": rows[held_out : 2 * held_out],
    }


@pytest.fixture(scope="session")
def countries(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The embedded graph, cut at random: 5,126 triples to train on, 300 each to validate and test."""
    nodes, edges = _rows("nodes.tsv"), _rows("edges.tsv")
    labels = [row[0] for row in nodes]
    relations = sorted({row[1] for row in edges})
    ids = {label: i for i, label in enumerate(labels)}
    triples = np.array([(ids[head], relations.index(relation), ids[tail]) for head, relation, tail in edges])
    return write_graph(
        tmp_path_factory.mktemp("graphs") / "countries",
        name="countries",
        labels=labels,
        relations=relations,
        triples=_cut(triples, 300),
        names=[row[2] for row in nodes],
        types=[row[1] for row in nodes],
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """30 entities, 3 relations; 160 distinct triples, 20 of them held out."""
    return tiny_graph(tmp_path_factory.mktemp("graphs") / "tiny")


def tiny_graph(path: Path) -> Graph:
    """Random triples, always the same."""
    codes = np.random.default_rng(0).choice(30 * 3 * 30, size=160, replace=False)
    triples = np.stack([codes // 90, codes // 30 % 3, codes % 30], axis=1)
    return write_graph(
        path,
        name="tiny",
        labels=[f"e{i:02d}" for i in range(30)],
        relations=["likes", "knows", "treats"],
        triples=_cut(triples, 10),
    )


@pytest.fixture(scope="session")
def trained(countries: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `graph` (countries) and `run`: a small ConvE after three epochs. Only for looking: copy it to
    change it."""
    from corollary.runs.config import RunConfig
    from corollary.runs.conve import train_conve

    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(countries.path, folder / "graph")
    config = RunConfig.build(
        {
            "model": {"embedding_dim": 32, "channels": 4, "batch_size": 64},
            "training": {"epochs": 3, "lr": 0.01, "validate_every": 1},
        }
    )
    train_conve(folder / "graph", folder / "run", config)
    return folder


@pytest.fixture(scope="session")
def explained(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with `rules`, mined, of up to two steps: what explanations are made from."""
    from corollary.rules.mining import Mining
    from corollary.runs.rules.kind import mine_rules
    from corollary.runs.rules.options import RulesOptions

    folder = tmp_path_factory.mktemp("explained")
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    options = RulesOptions(mining=Mining(longest=2, min_support=5, chains_per_head=200))
    mine_rules(Graph.open(folder / "graph"), folder / "rules", options)
    return folder


@pytest.fixture(autouse=True)
def ctrl_c() -> None:
    """Every test begins with Python's own answer to Ctrl-C: libraries swap it while they work, and one that is stopped in
    the middle may put back the wrong one, for all tests that the process runs later."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of tests must be the same in every worker: bytes may hold the time at which they were packed."""
    return f"{argname}-{len(val)}-bytes" if isinstance(val, bytes) else None
