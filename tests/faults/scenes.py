"""What is killed: commands over a small graph, what may be seen after a kill, and what has to come out in the end."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corollary.errors import CorollaryError
from corollary.graph.folder import Graph, write_graph
from corollary.records.run_folder import RunFolder
from corollary.storage import sha256
from corollary.training.checkpoints import read_manifest
from tests.reference.foreign_conve import PyKeen, stirred

VARYING = ("seconds", "validation_seconds", "resident_bytes", "peak_bytes", "planned_bytes", "plan", "seal")
"""Of JSON tables: times and bytes, and what depends on them."""
HIDDEN = ".partial-"
TRAINING = (
    "--num-epochs", "3", "--embedding-dim", "12", "--output-channels", "4", "--batch-size", "64", "--num-workers", "1",
    "--checkpoint-frequency", "1", "--device", "cpu", "--set", "training.average_decay=0.9",
    "--set", "training.validate_every=1", "--set", "evaluation.resamples=20",
)  # fmt: skip
WITHIN_EPOCHS = ("--set", "training.checkpoint_minutes=1e-9")
"""A checkpoint after every step."""


@dataclass(frozen=True)
class Scene:
    """A command that is killed.

    Args:
        share: of a hundred kills.
        needs: what has to stand in the folder before, see `write`.
        words: the next command line, seen what stands in the folder.
        makes: files and folders at the top of the folder that it makes or changes.
        wrong: what is wrong with the folder, at any moment, beside what `runner` looks for.
        result: what has to be the same as after an unbroken life; checksums of all that it makes unless given.
        lives: kills in a row, at most.
    """

    name: str
    share: int
    needs: tuple[str, ...]
    words: Callable[[Path], list[object]]
    makes: tuple[str, ...]
    wrong: Callable[[Path], list[str]] = lambda folder: []
    result: Callable[[Path], Any] | None = None
    lives: int = 2


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with a checksum: of JSON tables without what varies."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): _content(path) for path in files}


def _content(path: Path) -> str:
    if path.suffix != ".json":
        return sha256(path)
    try:
        table = json.loads(path.read_text())
    except ValueError:
        return "not JSON"
    return json.dumps({key: value for key, value in table.items() if key not in VARYING})


def leftovers(folder: Path) -> list[str]:
    """Hidden files and folders of writers, at any depth."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(f"{HIDDEN}*"))


def graph_is_wrong(path: Path) -> list[str]:
    """A graph folder is absent or whole."""
    if not path.exists():
        return []
    try:
        Graph.open(path).verify()
    except CorollaryError as error:
        return [f"half-written graph: {error}"]
    return []


def run_is_wrong(path: Path) -> list[str]:
    """Every file of a run folder is absent or whole, every checkpoint is, and the metrics have no gap."""
    found = graph_is_wrong(path / "graph")
    if not (path / "config.json").exists():
        there = (
            {entry.name for entry in path.iterdir() if not entry.name.startswith(HIDDEN)}
            if path.exists()
            else set()
        )
        return found + [f"{name} without config.json" for name in there - {"graph", "checkpoints", ".lock"}]
    try:
        run = RunFolder.open(path)
        epochs = [line["epoch"] for line in run.metrics()]
        if epochs != list(range(1, len(epochs) + 1)):
            found.append(f"metrics of epochs {epochs}")
        for name in ("evaluation.json", "memory.json"):
            if (path / name).exists():
                run.read_json(name)
        for checkpoint in sorted((path / "checkpoints").glob("[!.]*")):
            found += _checkpoint_is_wrong(checkpoint)
    except CorollaryError as error:
        found.append(str(error))
    report = path / "report.html"
    if report.exists() and not report.read_text().rstrip().endswith("</html>"):
        found.append("half a report")
    return found


def _checkpoint_is_wrong(path: Path) -> list[str]:
    manifest = read_manifest(path)
    changed = [name for name, checksum in manifest.files.items() if sha256(path / name) != checksum]
    odd = {file.name for file in path.iterdir()} ^ {*manifest.files, "manifest.json"}
    return [f"{path.name}/{name} is not what the manifest says" for name in {*changed, *odd}]


def run_result(path: Path) -> dict[str, Any]:
    """What two trainings of the same bytes have in common: weights, positions, metrics, figures, names of files."""
    run = RunFolder.open(path)
    found: dict[str, Any] = {
        "metrics": [{key: v for key, v in line.items() if key not in VARYING} for line in run.metrics()],
        "evaluation": _content(path / "evaluation.json") if (path / "evaluation.json").exists() else None,
        "names": sorted(str(file.relative_to(path)) for file in path.rglob("*")),
    }
    for folder in sorted((path / "checkpoints").iterdir()):
        manifest = read_manifest(folder).model_dump()
        manifest["files"] = dict(sorted(manifest["files"].items()))
        found[folder.name] = manifest
    return found


def write_files(folder: Path, *, entities: int = 60, triples: int = 900) -> None:
    """Loose files of triples, always the same; `train.tsv` has a wrong line, so that there are rejects."""
    codes = np.random.default_rng(0).choice(entities * entities * 3, triples, replace=False)
    rows = [f"e{c // (3 * entities)}\tr{c % 3}\te{c // 3 % entities}" for c in codes.tolist()]
    files = {"good": rows[60:], "train": [*rows[60:], "one field"], "valid": rows[:30], "test": rows[30:60]}
    for name, lines in files.items():
        (folder / f"{name}.tsv").write_text("".join(f"{line}\n" for line in lines))


def write_model(folder: Path) -> None:
    """A model of another program, and its files of ids."""
    graph = Graph.open(folder / "graph")
    for kind, table in (("entity", graph.entities), ("relation", graph.relations)):
        (folder / f"{kind}.txt").write_text(
            "".join(f"{label}\t{i}\n" for i, label in enumerate(table.labels))
        )
    model = PyKeen(graph.num_entities, 2 * graph.num_relations, height=4, width=8, channels=4)
    torch.save(stirred(model).state_dict(), folder / "state.pt")


def write_wide_graph(folder: Path) -> None:
    """Entities enough for a table that is larger than the pages of its files that are mapped at once."""
    rng, entities = np.random.default_rng(1), 100_000
    triples = np.stack([rng.integers(0, n, 1500) for n in (entities, 2, entities)], axis=1)
    splits = {"train": triples[50:], "valid": triples[:50]}
    labels = [f"e{i}" for i in range(entities)]
    write_graph(folder / "wide", name="wide", labels=labels, relations=["r0", "r1"], triples=splits)


def _import_words(folder: Path) -> list[object]:
    files = [word for split in ("train", "valid", "test") for word in (f"--{split}", folder / f"{split}.tsv")]
    return ["graph", "import", *files, "--on-error", "skip", "-o", folder / "graph"]


def _split_words(folder: Path) -> list[object]:
    return ["graph", "split", folder / "graph", "-o", folder / "cut"]


def _train_words(folder: Path) -> list[object]:
    """Loose files at first; once there is a run, it is resumed."""
    if (folder / "run" / "config.json").exists():
        return ["train", "--resume", folder / "run"]
    files = [word for split in ("valid", "test") for word in (f"--{split}", folder / f"{split}.tsv")]
    return [
        "train",
        "conve",
        "--train",
        folder / "good.tsv",
        *files,
        "-o",
        folder / "run",
        *TRAINING,
        *WITHIN_EPOCHS,
    ]


def _disk_words(folder: Path) -> list[object]:
    if (folder / "run" / "config.json").exists():
        return ["train", "--resume", folder / "run"]
    limit = (folder / "limit.txt").read_text()
    wide = ("--embedding-dim", "64", "--batch-size", "256", "--num-epochs", "2", "--memory-limit", limit)
    return ["train", "conve", folder / "wide", "-o", folder / "run", *TRAINING, *wide]


def _export(kind: str, output: str) -> Callable[[Path], list[object]]:
    return lambda folder: ["export", folder / "trained", "--format", kind, "-o", folder / output]


def _runs_import_words(folder: Path) -> list[object]:
    ids = ("--entity-to-id", folder / "entity.txt", "--relation-to-id", folder / "relation.txt")
    return ["runs", "import", folder / "state.pt", "--graph", folder / "graph", *ids, "-o", folder / "theirs"]


def _evaluate_words(folder: Path) -> list[object]:
    return ["evaluate", folder / "trained", "--ranks", folder / "ranks.parquet"]


def _graph(name: str) -> Callable[[Path], list[str]]:
    return lambda folder: graph_is_wrong(folder / name)


def _run(name: str) -> Callable[[Path], list[str]]:
    return lambda folder: run_is_wrong(folder / name)


def _trained(folder: Path) -> Any:
    return run_result(folder / "run")


_TRAINED = ("files", "graph", "trained")
SCENES = (
    Scene("graph import", 20, ("files",), _import_words, ("graph", "graph.rejects.tsv"), _graph("graph")),
    Scene("graph split", 6, ("files", "graph"), _split_words, ("cut",), _graph("cut")),
    Scene("train", 36, ("files",), _train_words, ("run",), _run("run"), _trained, 6),
    Scene("train on disk", 8, ("wide",), _disk_words, ("run",), _run("run"), _trained, 4),
    Scene("evaluate", 10, _TRAINED, _evaluate_words, ("trained", "ranks.parquet"), _run("trained")),
    Scene("export npy", 4, _TRAINED, _export("npy", "vectors"), ("vectors",)),
    Scene("export parquet", 4, _TRAINED, _export("parquet", "v.parquet"), ("v.parquet",)),
    Scene("export word2vec", 3, _TRAINED, _export("word2vec", "v.txt"), ("v.txt",)),
    Scene("runs import", 6, ("files", "graph", "model"), _runs_import_words, ("theirs",), _run("theirs")),
    Scene("report", 3, _TRAINED, lambda f: ["report", f / "trained"], ("trained",), _run("trained")),
)
