"""Every asset is made in process on the embedded graph; checks hold what must not pass; every option is there."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from pydantic import BaseModel

from corollary.assets.checks import CHECKS
from corollary.assets.definitions import ASSETS, defs
from corollary.assets.options import given, mirrored
from corollary.assets.pipeline import embeddings_path, folds, links_to_hidden
from corollary.assets.resources import EMBEDDED, Options, ParquetFiles, Repurposing
from corollary.errors import ConfigError
from corollary.graph.folder import Graph
from corollary.repurpose.config import RepurposeConfig

pytestmark = pytest.mark.xdist_group("assets")  # one process makes what they share

ROOT = Path(__file__).parents[2]
SMALL = {
    "relation": "written_in",
    "embeddings": EMBEDDED["embeddings"],
    "classifier": {"rounds": 20, "draws": 3, "negatives": 10},
    "longest_path": 2,
    "top": 3,
    "faithfulness": 3,
    "resamples": 20,
}
"""Languages for every script: 33 lists."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repurposing, dg.ExecuteInProcessResult]:
    """Everything with the final classifier, on the embedded graph, for a relation with few lists."""
    data = str(tmp_path_factory.mktemp("assets") / "data")
    repurposing = Repurposing(data=data, options=Options(**SMALL))
    whole = dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        resources={"repurposing": repurposing, "parquet": ParquetFiles(data=data)},
    )
    job = whole.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return repurposing, job.execute_in_process(partition_key="all", instance=instance)


def metadata_of(result: dg.ExecuteInProcessResult, name: str) -> dict[str, dg.MetadataValue]:
    (event,) = result.asset_materializations_for_node(name)
    return dict(event.metadata)


def test_every_asset_is_made(made):
    result = made[1]
    assert result.success
    names = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert names == {"graph", "splits", "hgt_embeddings", "pair_classifier", "repurposing_predictions"}


def test_checks_from_validation_and_audit_pass(made):
    passed = {check.check_name: check.passed for check in made[1].get_asset_check_evaluations()}
    for name in (
        "no_pair_is_hidden_twice", "embeddings_are_healthy", "nothing_leaked", "nothing_hidden_was_learned_from",
    ):  # fmt: skip
        assert passed[name], name
    assert {"lists_beat_counting", "probabilities_hold"} <= set(passed)


def test_what_would_spoil_the_rest_stops_it():
    """Blocking checks stand before everything that learns from what they check."""
    blocking = {
        key.name
        for check in [*CHECKS, *(one for one in ASSETS if one.check_specs)]
        for key, spec in ((spec.key, spec) for spec in check.check_specs)
        if spec.blocking
    }
    assert blocking == {
        "no_pair_is_hidden_twice", "embeddings_are_healthy", "nothing_leaked", "nothing_hidden_was_learned_from",
    }  # fmt: skip


def test_files_lie_where_they_are_expected(made):
    """Tables through the Parquet manager, vectors in the default place, the report beside the stages."""
    repurposing = made[0]
    data = Path(repurposing.data)
    assert (data / "05_model_input" / "splits.parquet").is_file()
    assert (data / "07_model_output" / "repurposing_predictions.parquet").is_file()
    assert embeddings_path(repurposing) == data / "06_models" / "embeddings" / "hgt_embeddings.csv"
    assert (repurposing.folder / "report.html").is_file()


def test_tables_come_back_as_they_went_in(made):
    """One line a held-out pair, each pair in one fold; three answers for every script."""
    _, result = made
    splits = result.asset_value("splits")
    assert list(splits.columns) == ["scheme", "fold", "row", "column"]
    assert len(splits) == len(splits.drop_duplicates(["row", "column"])) == 363
    lists = result.asset_value("repurposing_predictions")
    assert (lists.groupby("script").size() == 3).all()
    assert lists["probability"].between(0, 1).all()


def test_metadata_have_counts_figures_and_plots(made):
    result = made[1]
    assert metadata_of(result, "graph")["nodes"].value > 1000
    assert metadata_of(result, "hgt_embeddings")["dimensions"].value == 32
    assert "| feature | share |" in metadata_of(result, "pair_classifier")["features by gain"].value
    shown = metadata_of(result, "repurposing_predictions")
    assert shown["dagster/row_count"].value == 3 * 33
    assert "best single baseline" in shown["rows: verdict"].value
    assert shown["rows: reliability"].value.startswith("![Reliability](data:image/svg+xml;base64,")
    assert "| classifier |" in shown["rows: figures"].value


def test_the_report_shows_verdict_lists_and_checksums(made):
    """From the files of the folder alone."""
    repurposing, result = made
    report = (repurposing.folder / "report.html").read_text(encoding="utf-8")
    assert "best single baseline" in report[: report.index("</header>")]
    for name in result.asset_value("repurposing_predictions")["script_name"].unique():
        assert f"<bdi>{html.escape(name)}</bdi>" in report
    for checksum in json.loads((repurposing.folder / "lists" / "manifest.json").read_text()).values():
        assert checksum in report


def test_an_answer_scored_again_as_it_was_has_its_listed_probability(made):
    """Before its path is taken away; float32 features on both ways."""
    repurposing, result = made
    lists = result.asset_value("repurposing_predictions").set_index(["script", "language"])["probability"]
    deleted = json.loads((repurposing.folder / "faithfulness.json").read_text())["pairs"]
    assert len(deleted) == 3
    for one in deleted:
        assert one["before"] == pytest.approx(lists[one["row"], one["column"]], rel=1e-4)


def test_a_graph_that_gives_an_answer_away_is_caught(made):
    """The whole graph in place of the learners' own links every pair they may not see."""
    repurposing, _ = made
    stages = repurposing.stages()
    assert links_to_hidden(stages, stages.final) == 0
    stages.learned.cut = lambda hidden: stages.graph.path.parent / "whole"
    (stages.graph.path.parent / "whole").mkdir()
    (stages.graph.path.parent / "whole" / "graph").symlink_to(stages.graph.path)
    assert links_to_hidden(stages, stages.final) >= 363


def test_every_option_of_the_program_can_be_set():
    """But for those that the assets themselves decide: folds and what makes the vectors."""

    def names(model: type[BaseModel], prefix: str = "") -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            group = isinstance(field.default, BaseModel)
            found |= names(type(field.default), f"{prefix}{name}.") if group else {prefix + name}
        return found

    missing = names(RepurposeConfig) - names(Options)
    assert missing == {"splitting.folds", "embeddings.learner", "embeddings.run", "embeddings.file"}
    assert all(field.description for field in Options.model_fields.values())


def test_options_reach_the_program_checked(countries: Graph):
    """A relation that is named starts from the program's defaults, the example from its own; both can be changed."""
    own = Repurposing(graph=str(countries.path), options=Options(relation="borders", top=7))
    assert own.config == RepurposeConfig.build({"relation": "borders", "top": 7})
    example = Repurposing(options=Options(classifier={"depth": 2})).config
    assert (example.relation, example.classifier.depth) == ("spoken_language", 2)
    assert example.classifier.rounds == EMBEDDED["classifier"]["rounds"]
    with pytest.raises(ConfigError, match="repurposing.options.relation is not set"):
        _ = Repurposing(graph=str(countries.path)).config
    with pytest.raises(ConfigError, match=r"repurposing.options: pairs.side = 'up'"):
        _ = Repurposing(options=Options(pairs={"side": "up"})).config


def test_what_is_set_is_given_though_it_is_the_programs_default():
    set_ = {"relation": "treats", "splitting": {"schemes": ["rows"]}, "known": False}
    assert given(Options(**set_)) == set_
    assert given(Options()) == {}


def test_what_is_set_replaces_the_example_options_in_a_run_too():
    """Dagster fills in defaults before a resource is made; `longest_path` 3 and no options are the program's own."""
    set_ = {"options": {"longest_path": 3, "classifier": {"negatives": 50}, "embeddings": {"options": {}}}}
    seen = []

    @dg.op
    def look(repurposing: Repurposing) -> None:
        seen.append(repurposing.config)

    @dg.job(resource_defs={"repurposing": Repurposing.configure_at_launch()})
    def looking() -> None:
        look()

    assert looking.execute_in_process(run_config={"resources": {"repurposing": {"config": set_}}}).success
    (config,) = seen
    assert (config.longest_path, config.classifier.negatives, config.embeddings.options) == (3, 50, {})
    assert (config.relation, config.classifier.draws) == ("spoken_language", 3)


def test_choices_stand_in_the_help():
    config = mirrored(RepurposeConfig)
    calibration = config.model_fields["classifier"].annotation.model_fields["calibration"]
    assert calibration.annotation == str | None
    assert calibration.description.endswith("One of sigmoid, isotonic. Not set: sigmoid.")


def test_there_is_a_partition_for_every_fold_and_the_final_model():
    assert folds.get_partition_keys() == ["rows-0", "rows-1", "rows-2", "rows-3", "rows-4", "all"]


def test_the_page_names_every_asset_and_check_and_its_options_are_accepted():
    """docs/dagster.md."""
    page = (ROOT / "docs" / "dagster.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.M)
    checks = [spec.key.name for one in [*CHECKS, *ASSETS] for spec in one.check_specs]
    assert sorted(rows) == sorted([*(asset.key.to_user_string() for asset in ASSETS), *checks])
    (block,) = re.findall(r"```yaml\n(resources:.*?)```", page, re.S)
    job = defs.resolve_implicit_global_asset_job_def()
    assert dg.validate_run_config(job, yaml.safe_load(block))
    assert Repurposing(**yaml.safe_load(block)["resources"]["repurposing"]["config"]).config.relation == "CtD"


def test_definitions_are_valid():
    """What `dagster definitions validate -m corollary.assets` looks at."""
    dg.Definitions.validate_loadable(defs)


def test_nothing_else_of_the_program_needs_dagster():
    """The command line and the stages come without it."""
    script = "import sys, corollary.cli.main, corollary.repurpose.stages; assert 'dagster' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    room = ROOT / "src" / "corollary"
    users = {p.relative_to(room).parts[0] for p in room.rglob("*.py") if "import dagster" in p.read_text()}
    assert users == {"assets"}
