"""A training with sampled negatives says so wherever its loss is shown; what it cannot do is refused."""

import pytest

import corollary
from corollary.errors import ConfigError
from corollary.runs.config import RunConfig
from corollary.runs.conve import plan_conve, train_conve

SMALL = {
    "model": {"embedding_dim": 12, "channels": 4, "batch_size": 500, "negatives": {"name": "types"}},
    "training": {"epochs": 1, "validate_every": 1, "optimizer": {"table": "rowwise_adagrad"}},
    "evaluation": {"resamples": 0},
}


def changed(**model) -> RunConfig:
    return RunConfig.build({**SMALL, "model": {**SMALL["model"], **model}})


def test_an_estimate_is_never_called_the_loss(countries, tmp_path):
    """Not in what is said, in metrics.jsonl, in config.json, in the report; figures are the exact ones, and the peak is
    planned."""
    said: list[str] = []
    run = train_conve(countries, tmp_path / "run", RunConfig.build(SMALL), say=said.append)
    assert "sampled negatives (types): the loss is an estimate of the 1-N loss" in said
    assert all("loss" not in line and line["sampled_loss"] > 0 for line in run.folder.metrics())
    assert run.config.model.negatives.name == "types"
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert "sampled loss, first and last epoch" in report
    assert "nats, sampled negatives" in report
    assert run.evaluation is not None
    assert run.evaluation.metrics.mrr == corollary.evaluate(run, "test").metrics.mrr
    assert run.folder.config["plan"]["parts"]["drawing"] > 0


def test_an_average_of_all_rows_is_refused():
    """It would go over the whole table after every step."""
    with pytest.raises(ConfigError) as caught:
        RunConfig.build({**SMALL, "training": {"average_decay": 0.9}})
    assert str(caught.value) == (
        "configuration: training.average_decay = 0.9 goes over the whole table after every step, and "
        "model.negatives.name = types touches a few rows of it: leave one of them out"
    )


def test_a_graph_without_types_is_refused_before_any_work(tiny, tmp_path):
    """Nothing is left; a plan says the same."""
    for refused in (
        lambda: train_conve(tiny, tmp_path / "run", RunConfig.build(SMALL)),
        lambda: plan_conve(tiny, RunConfig.build(SMALL)),
    ):
        with pytest.raises(
            ConfigError, match="graph tiny has no node types; import it with types, or draw uniform"
        ):
            refused()
    assert not (tmp_path / "run").exists()


def test_a_plan_counts_what_sampling_needs(countries):
    """More draws cost more; a state of one number a row costs less; nothing follows the number of entities but the
    table, its state, and what is drawn from."""

    def parts(config: RunConfig) -> dict[str, int]:
        return plan_conve(countries, config, loaded=0).parts

    few, many = (
        parts(changed(negatives={"name": "uniform", "num_drawn": n}, examples="1vsall", batch_size=8))
        for n in (16, 128)
    )
    for part in ("gradient", "score tile", "update", "drawing"):
        assert few[part] < many[part], part
    dense = RunConfig.build({**SMALL, "training": {}})
    assert parts(RunConfig.build(SMALL))["optimiser"] < parts(dense)["optimiser"]
    degree = parts(changed(negatives={"name": "degree"}))["drawing"]
    assert degree - parts(changed(negatives={"name": "uniform"}))["drawing"] >= 4 * countries.num_entities
