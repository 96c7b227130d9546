"""Figures of a finished run of DRUM on its test triples: of the model, and of its counted rules beside it."""

from collections.abc import Mapping

from corollary.budget import Plan
from corollary.evaluation.metrics import Evaluation
from corollary.learners.counted_rules import CountedRules
from corollary.messages import Say
from corollary.runs.drum.asking import reach
from corollary.runs.drum.options import DrumOptions
from corollary.runs.drum.validating import ranked_model
from corollary.runs.rules.kind import load_rules, ranked, train_links
from corollary.runs.rules.options import WithRules
from corollary.runs.run import Run


def figures_on_test(run: Run, say: Say) -> Mapping[str, float | None]:
    """Rank the test triples of the run's targets twice and write `evaluation.json`, `rules_evaluation.json` and
    `reach.json`; empty where there are none."""
    options, graph = run.options, run.graph
    assert isinstance(options, WithRules)
    if not graph.info.num_triples.get("test", 0):
        return {}
    ranking = run.ranking
    some = ranking.triples(graph, "test")
    if not len(some):
        return {}
    say("ranking the test triples")
    plan = Plan.model_validate(run.folder.config["plan"])
    result = ranked_model(run.scorer, graph, "test", ranking.relations(graph), options, plan)
    run.folder.write_json("evaluation.json", result.model_dump(mode="json"))
    scorer = CountedRules(load_rules(run.path), train_links(graph), options.how)
    counted, share = ranked(scorer, graph, ranking, seed=options.seed)
    run.folder.write_json("rules_evaluation.json", counted.model_dump(mode="json"))
    reached = {"counted rules": share}
    if isinstance(options, DrumOptions):
        reached["model"] = reach(graph, options, some)
    run.folder.write_json("reach.json", reached)
    say(f"test mrr of the model {result.mrr:.4f}, of its counted rules {counted.mrr:.4f}")
    return result.metrics.values() | {f"rules {name}": v for name, v in counted.metrics.values().items()}


def figures_of(run: Run) -> dict[str, dict[str, float | None]]:
    """Test figures of the model and of its counted rules, with ties expected in the middle and at
    both ends, and the share of answers that get any score."""
    found: dict[str, dict[str, float | None]] = {}
    reached = run.folder.find_json("reach.json") or {}
    for name, file in (("model", "evaluation.json"), ("counted rules", "rules_evaluation.json")):
        if (run.path / file).exists():
            result = Evaluation.model_validate(run.folder.read_json(file))
            found[name] = {
                **result.metrics.values(),
                **{f"mrr {ties}": figures.mrr for ties, figures in result.figures.sides["both"].items()},
                "reached": reached.get(name),
            }
    return found
