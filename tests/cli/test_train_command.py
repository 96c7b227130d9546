"""`corollary train`: graph folders, loose files, configurations, resuming, and the memory limit."""

import json
import tomllib
from pathlib import Path

import pytest

from corollary.budget import MIB, parse_bytes
from corollary.graph.folder import Graph
from corollary.runs.config import RunConfig
from corollary.runs.conve import train_conve
from corollary.runs.run import Run
from corollary.storage import sha256
from corollary.training.loop import Silent

SMALL = ("--embedding_dim", 16, "--output_channels", 2, "--batch_size", 32, "--num_epochs", 2)
CONFIG = {"model": {"embedding_dim": 16, "channels": 2, "batch_size": 32}, "training": {"epochs": 2}}


def files_of(graph: Graph, folder: Path) -> tuple[str, ...]:
    """The graph as loose files with ids in an order of their own, and the options that name them."""
    entities, relations = list(graph.entities.labels), list(graph.relations.labels)
    for split in graph.splits:
        rows = [f"{entities[h]}\t{relations[r]}\t{entities[t]}\n" for h, r, t in graph.triples(split)]
        (folder / f"{split}.tsv").write_text("".join(rows))
    for name, labels in (("entities", entities), ("relations", relations)):
        (folder / f"{name}.tsv").write_text(
            "".join(f"{label}\t{i}\n" for i, label in enumerate(reversed(labels)))
        )
    names = {"train": "train", "valid": "valid", "test": "test", "entity_to_id": "entities", "relation_to_id": "relations"}  # fmt: skip
    return tuple(word for option, name in names.items() for word in (f"--{option}", f"{folder / name}.tsv"))


def weights(run: Path) -> dict[str, str]:
    """Checksums of the final weights."""
    return {file.name: sha256(file) for file in run.glob("checkpoints/final/*.safetensors")}


def test_a_graph_folder_is_trained_on_with_the_old_option_names(ok, tiny, tmp_path):
    """Underscores in place of hyphens; figures as a table; the options stand in the run's configuration."""
    more = (
        "--learning_rate",
        0.02,
        "--label_smoothing",
        0.1,
        "--num_workers",
        0,
        "--checkpoint_frequency",
        1,
    )
    made = ok("train", "conve", tiny.path, "--output_dir", tmp_path / "run", *SMALL, *more, "--seed", 4)
    assert "mrr" in made.out
    assert f"run folder: {tmp_path / 'run'}" in made.err
    config = Run.open(tmp_path / "run").config
    assert (config.seed, config.training.lr, config.training.epochs, config.training.num_workers) == (
        4,
        0.02,
        2,
        0,
    )
    assert (config.model.embedding_dim, config.model.channels, config.model.batch_size) == (16, 2, 32)
    assert (config.model.label_smoothing, config.training.checkpoint_frequency) == (0.1, 1)


def test_loose_files_keep_their_ids_exactly(ok, tiny, tmp_path):
    """The graph is made inside the run folder, so the run folder alone can be moved and used."""
    options = files_of(tiny, tmp_path)
    made = ok("train", "conve", *options, "-o", tmp_path / "run", *SMALL, "--json").json()
    assert made["run"] == str(tmp_path / "run")
    assert made["evaluation"]["num_triples"] == tiny.info.num_triples["test"]
    (tmp_path / "run").rename(tmp_path / "moved")
    graph = Run.open(tmp_path / "moved").graph
    assert graph.path == tmp_path / "moved" / "graph"
    assert list(graph.entities.labels) == list(reversed(list(tiny.entities.labels)))
    assert list(graph.relations.labels) == list(reversed(list(tiny.relations.labels)))
    assert graph.info.num_triples == tiny.info.num_triples


def test_a_recipe_and_the_configuration_of_a_run_repeat_the_run(ok, tiny, tmp_path):
    """TOML in; its config.json in again: the same bytes."""
    (tmp_path / "small.toml").write_text(
        "seed = 3\n[recipe]\ndataset = 'x'\n[model]\nembedding_dim = 16\nchannels = 2\nbatch_size = 32\n"
        "[training]\nepochs = 2\naverage_decay = 0.5\n[training.schedule]\nname = 'cosine'\n"
    )
    ok("train", "conve", tiny.path, "-o", tmp_path / "a", "--config", tmp_path / "small.toml")
    ok("train", "conve", tiny.path, "-o", tmp_path / "b", "--config", tmp_path / "a" / "config.json")
    first, second = (Run.open(tmp_path / name) for name in "ab")
    assert first.config == second.config
    assert first.config.training.average_decay == 0.5
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert first.evaluation.figures == second.evaluation.figures


def test_set_and_flags_override_the_file(ok, tiny, tmp_path):
    """`none` unsets; a flag and --set reach the same keys."""
    (tmp_path / "c.toml").write_text("[training]\nepochs = 50\naverage_decay = 0.5\nclip_norm = 2.0\n")
    words = (
        "--set",
        "training.average_decay=none",
        "--set",
        "evaluation.hits=[1, 7]",
        "--set=training.clip_norm=1",
    )
    found = ok(
        "train",
        "conve",
        tiny.path,
        "-o",
        tmp_path / "r",
        "--config",
        tmp_path / "c.toml",
        *SMALL,
        *words,
        "--json",
    )
    config = Run.open(tmp_path / "r").config
    assert (config.training.epochs, config.training.average_decay, config.training.clip_norm) == (
        2,
        None,
        1.0,
    )
    assert list(found.json()["evaluation"]["figures"]["sides"]["both"]["realistic"]["hits"]) == ["1", "7"]  # fmt: skip


def test_resuming_a_finished_run_changes_nothing(ok, tiny, tmp_path):
    """No epoch is added; the weights and figures are those it had."""
    run = train_conve(tiny, tmp_path / "run", RunConfig.build(CONFIG))
    before, figures, lines = weights(run.path), run.evaluation.figures, run.folder.metrics()
    assert "mrr" in ok("train", "--resume", run.path).out
    assert (weights(run.path), run.evaluation.figures, run.folder.metrics()) == (before, figures, lines)


def test_resuming_an_unfinished_run_ends_with_the_same_bytes(ok, tiny, tmp_path):
    """Stopped in the second epoch, with the graph moved meanwhile."""

    class Stop(Silent):
        def stepped(self, *, state, **_):
            if state.updates == 7:
                raise KeyboardInterrupt

    whole = train_conve(tiny, tmp_path / "whole", RunConfig.build(CONFIG))
    with pytest.raises(KeyboardInterrupt):
        train_conve(tiny, tmp_path / "part", RunConfig.build(CONFIG), observer=Stop())
    assert not (tmp_path / "part" / "checkpoints" / "final").exists()
    made = ok("train", "--resume", tmp_path / "part", "--graph", tiny.path, "--json").json()
    assert weights(tmp_path / "part") == weights(whole.path)
    assert made["evaluation"]["figures"] == json.loads(whole.evaluation.figures.model_dump_json())


def test_a_memory_limit_that_is_too_small_is_itemised_and_writes_nothing(command, tiny, tmp_path):
    """Parts in MiB that add up; for loose files too nothing stays behind, so that the next try can succeed."""
    message = command("train", "conve", tiny.path, "-o", tmp_path / "run", "--memory-limit", "100MiB").message
    assert message.startswith("conve on tiny needs at least ")
    assert " and the budget is 100.0 MiB: interpreter " in message
    total = parse_bytes(message.split("at least ")[1].split(" and the budget")[0]) / MIB
    parts = message.split("100.0 MiB: ")[1].split(" (MiB)")[0]
    assert total == pytest.approx(sum(float(part.rsplit(" ", 1)[1]) for part in parts.split(", ")), abs=0.5)
    assert not (tmp_path / "run").exists()


def test_loose_files_leave_nothing_behind_where_no_run_starts(command, ok, tiny, tmp_path):
    """A device that is not there is noticed after the import; the next try finds the place free."""
    options = (*files_of(tiny, tmp_path), "-o", tmp_path / "run")
    message = command("train", "conve", *options, *SMALL, "--device", "cuda:99").message
    assert message.startswith("device 'cuda:99' is not on this machine")
    assert not (tmp_path / "run").exists()
    ok("train", "conve", *options, *SMALL)


def test_every_recipe_is_a_valid_configuration():
    """Of its learner, and names a dataset that can be had, or a file of a taxonomy."""
    from corollary.graph.datasets.locating import list_datasets
    from corollary.runs.kinds import kind_of

    datasets = set(list_datasets().to_pandas()["name"])
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert len(recipes) >= 3
    for file in recipes:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        recipe = table.pop("recipe")
        assert recipe["dataset"] in datasets if "dataset" in recipe else recipe["taxonomy"], file
        kind_of(recipe.get("learner", "conve")).options.build(table, where=str(file))
