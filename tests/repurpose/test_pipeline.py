"""The whole pipeline on the world's countries: languages listed for each, figures, files, going on after a kill."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import corollary
from corollary.cli.main import app
from corollary.errors import ConfigError, CorollaryError, InputError, PlanDoesNotFit, RunDamaged, RunError
from corollary.graph.folder import Graph
from corollary.records.run_folder import RunFolder
from corollary.repurpose.config import RepurposeConfig
from corollary.repurpose.pipeline import Repurposing, repurpose_graph
from corollary.repurpose.stages import open_stages

pytestmark = pytest.mark.xdist_group("repurpose")  # one process makes what they share

OPTIONS = {
    "relation": "spoken_language",
    "pairs": {"side": "tail", "marks": ["official_language"]},
    "splitting": {"folds": 3},
    "classifier": {"draws": 3, "rounds": 30, "lr": 0.2, "negatives": 10},
    "embeddings": {
        "options": {
            "model": {"hidden_dim": 8, "embedding_dim": 8, "layers": 1, "attn": 2},
            "training": {"epochs": 1},
        }
    },
    "longest_path": 2,
    "top": 3,
    "faithfulness": 3,
    "resamples": 50,
}


@pytest.fixture(scope="module")
def config() -> RepurposeConfig:
    return RepurposeConfig.build(OPTIONS)


@pytest.fixture(scope="module")
def found(countries: Graph, config, tmp_path_factory) -> Repurposing:
    return repurpose_graph(countries, tmp_path_factory.mktemp("lists") / "out", config)


def test_every_row_has_its_list(found):
    """Named after the types, best first, probabilities within their interval, nothing that is known already."""
    table = found.to_pandas()
    assert list(table.columns) == [
        "country", "country_name", "rank", "language", "language_name", "probability", "probability_low",
        "probability_high", "normalised_rank", "untrained_rank", "known", "official_language",
        "nearest_known_language", "paths", "rules",
    ]  # fmt: skip
    assert len(table) == 249 * 3
    assert (table.groupby("country")["rank"].apply(list).map(lambda ranks: ranks == [1, 2, 3])).all()
    assert (table["probability_low"] <= table["probability"]).all()
    assert (table["probability"] <= table["probability_high"]).all()
    assert table["probability"].between(0, 1).all()
    assert not table["known"].any()
    assert table["official_language"].dtype == bool
    assert (table["paths"] != "").mean() > 0.5


def test_the_three_files_hold_the_same(found):
    """Line by line; the JSON by row, with the evidence in parts."""
    import pandas

    table = found.to_pandas()
    text = pandas.read_csv(found.path / "lists" / "predictions.csv", keep_default_na=False)
    assert text["language"].tolist() == table["language"].tolist()
    np.testing.assert_allclose(text["probability"], table["probability"], rtol=1e-6)
    records = json.loads((found.path / "lists" / "predictions.json").read_text(encoding="utf-8"))
    assert len(records) == 249
    first = records[0]["answers"][0]
    assert first["language"] == table["language"][0]
    assert set(first["evidence"]) >= {"paths", "similar_column", "rules"}


def test_figures_stand_beside_simple_baselines(found):
    """The classifier, the regression and every untrained score, on the same pairs; an honest sentence."""
    figures = found.figures["rows"]
    assert {"classifier", "logistic", "all three", "popularity", "similar rows"} <= set(figures.scores)
    assert figures.scores["classifier"].pairs == 664
    assert figures.scores["classifier"].figures["auroc"].value > 0.8
    assert "single baseline" in figures.comparison.sentence


def test_probabilities_hold_at_the_true_share(found):
    """Of rows that nothing was learned from, over all 84,411 pairs of which 664 are right."""
    calibration = found.figures["rows"].scores["classifier"].calibration
    assert calibration is not None
    assert calibration.prevalence == pytest.approx(664 / 84411)
    assert calibration.brier_skill > 0
    assert 0.7 < calibration.expected / calibration.observed < 1.4


def test_what_was_finished_is_not_made_again_and_the_rest_ends_with_the_same_bytes(
    countries, config, found, tmp_path
):
    """Killed in the second fold: its first is kept as it is, and lists and figures come out the same."""
    killed = tmp_path / "out"
    shutil.copytree(found.path, killed)
    for name in ("lists", "folds/all", "folds/rows-1/scores", "folds/rows-2", "learned"):
        shutil.rmtree(killed / name)
    (killed / "figures" / "rows.json").unlink()
    kept = killed / "folds" / "rows-0" / "scores" / "classifier.npy"
    before = kept.stat().st_mtime_ns
    repurpose_graph(countries, killed, config)
    assert kept.stat().st_mtime_ns == before
    for name in ("lists/predictions.csv", "lists/predictions.json", "figures/rows.json"):
        assert (killed / name).read_bytes() == (found.path / name).read_bytes(), name


def test_the_peak_is_recorded_last_and_the_highest_is_kept(countries, config, found, tmp_path):
    """The page counts too, and a command that finds everything finished does not hide what the work took."""
    memory, page = found.path / "memory.json", found.path / "report.html"
    assert memory.stat().st_mtime_ns > page.stat().st_mtime_ns
    copy = tmp_path / "out"
    shutil.copytree(found.path, copy)
    RunFolder(copy).write_json("memory.json", {"planned_bytes": 1, "peak_bytes": 1 << 50})
    repurpose_graph(countries, copy, config)
    assert RunFolder(copy).read_json("memory.json")["peak_bytes"] == 1 << 50


def test_a_folder_of_another_call_is_refused(countries, config, found):
    with pytest.raises(RunError, match="holds lists of another graph or other options"):
        repurpose_graph(countries, found.path, config.changed(seed=1))


def test_a_changed_list_is_refused(found, tmp_path):
    shutil.copytree(found.path, tmp_path / "out")
    assert len(Repurposing.open(tmp_path / "out").to_pandas()) == 747
    with (tmp_path / "out" / "lists" / "predictions.csv").open("a") as file:
        file.write("x\n")
    with pytest.raises(RunDamaged, match=r"predictions.csv has changed"):
        Repurposing.open(tmp_path / "out")
    with pytest.raises(RunError, match="holds no lists"):
        Repurposing.open(tmp_path)


def test_a_limit_that_is_too_small_is_said_before_any_work(countries, config, tmp_path):
    with pytest.raises(PlanDoesNotFit, match="repurposing on countries needs at least"):
        repurpose_graph(countries, tmp_path / "out", config.changed(memory_limit="20MiB"))
    assert not (tmp_path / "out").exists()


def test_the_command_goes_on_and_prints_what_is_there(countries, found, tmp_path):
    """By the recorded configuration: nothing is made again. Tables for people, JSON for programs."""
    words = [
        "repurpose",
        str(countries.path),
        "--config",
        str(found.path / "config.json"),
        "-o",
        str(found.path),
    ]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "classifier" in shown.output
    assert "language_name" in shown.output
    found_json = CliRunner().invoke(app, [*words, "--json"])
    start = found_json.stdout.index("{")
    assert set(json.loads(found_json.stdout[start:])["figures"]) == {"rows"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--relation is missing"),
        (["-r", "borders"], "links country to country"),
        (["-r", "spoken_language", "--rules", "nowhere"], "withhold = half with rules"),
        (["-r", "spoken_language", "--split", "external"], "needs splitting.external_file"),
        (["-r", "spoken_language", "--set", "classifier.dept=3"], "Did you mean 'depth'"),
        (["-r", "spoken_language", "--seed", "99999999999999999999999"], "seed = 9+: .*less than 4294967296"),
    ],
)
def test_wrong_options_are_one_message(countries, tmp_path, words, said):
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(
            app,
            ["repurpose", str(countries.path), "-o", str(tmp_path / "out"), *words],
            catch_exceptions=False,
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"splitting": {"schemes": ["external"], "external_file": "nope.tsv"}}, "no such file of pairs"),
        ({"splitting": {"schemes": ["areas"], "areas_relation": "in_arrea"}}, "relation 'in_arrea' is not"),
        ({"splitting": {"folds": 500}}, "500 folds need one each"),
        ({"baseline": {"paths": ["a-b"]}}, "baseline.paths: walk 'a-b' is not known"),
        ({"baseline": {"similar_rows": ["a"]}}, "baseline.similar_rows: walk 'a' is not known"),
    ],
)
def test_what_the_graph_refuses_leaves_no_folder(countries, tmp_path, options, said):
    """So the corrected command may write to the same one."""
    with pytest.raises(CorollaryError, match=said):
        open_stages(countries, tmp_path / "out", RepurposeConfig.build(OPTIONS | options))
    assert not (tmp_path / "out").exists()


def test_it_is_a_public_function():
    assert corollary.repurpose_graph is repurpose_graph
    assert Path(corollary.RepurposeConfig.__module__.replace(".", "/")).name == "config"


def test_a_file_of_vectors_is_read_before_anything_is_written(countries, tmp_path):
    """A file that is none, and one that lacks a node: named, and no folder is left."""
    (tmp_path / "notes.md").write_text("no vectors\n")
    (tmp_path / "few.csv").write_text("id,d0,d1\nFrance,1.0,2.0\n")
    for name, message in (("notes.md", r"\.csv, \.tsv or \.parquet"), ("few.csv", "few.csv")):
        file = {"embeddings": {"file": str(tmp_path / name)}}
        with pytest.raises(InputError, match=message):
            repurpose_graph(countries, tmp_path / "out", RepurposeConfig.build({**OPTIONS, **file}))
        assert not (tmp_path / "out").exists()
