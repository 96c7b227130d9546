"""Figures at the end of an HGT run: held-out ranks beside the simplest baseline, and what was leaked."""

from collections.abc import Mapping

from corollary.budget import MIB
from corollary.evaluation.degree_baseline import DegreeBaseline
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.learners.hgt.model import Hgt
from corollary.messages import Say
from corollary.runs.evaluating import evaluate
from corollary.runs.hgt.auditing import audit
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.run import Run

_MOST_BASELINE = 512 * MIB


def conclude_hgt(run: Run, say: Say) -> Mapping[str, float | None]:
    """Test figures, the degree baseline's in `baseline.json`, the audit in `audit.json`."""
    options = run.options
    assert isinstance(options, HgtOptions)
    scorer = run.scorer
    assert isinstance(scorer, Hgt)
    found_out = audit(run.graph, options, scorer)
    run.folder.write_json("audit.json", found_out)
    if not found_out["canary"]["at_chance"]:
        say("warning: random pairs that no split holds are not ranked at chance: see audit.json")
    if not run.graph.info.num_triples.get("test", 0):
        return {}
    say("ranking the test triples")
    found = evaluate(run, "test").metrics.values()
    if 8 * run.graph.num_relations * run.graph.num_entities > _MOST_BASELINE:
        return found
    config, plan = options.evaluation, run.folder.config["plan"]
    ranks = rank_split(
        DegreeBaseline(run.graph), run.graph, "test", filter=config.filter, ties=config.ties, hits=config.hits,
        resamples=config.resamples, candidates=None if run.graph.types is None else "types",
        chunk=plan["evaluation_chunk"], block_rows=plan["block_rows"], seed=options.seed,
    )  # fmt: skip
    run.folder.write_json("baseline.json", ranks.model_dump(mode="json"))
    limited = ranks.in_range.figures if ranks.in_range is not None else ranks.figures
    mrr = limited.sides["both"][config.ties].mrr
    say(f"test mrr {found['mrr']:.4f}; of the degree product, among entities of the answer's type, {mrr:.4f}")
    return found


def figures_of(run: Run) -> dict[str, dict[str, float | None]]:
    """Test figures of the model and of the degree baseline among entities of the answer's type; empty without a test."""
    found: dict[str, dict[str, float | None]] = {}
    if (run.path / "evaluation.json").exists():
        found["hgt"] = Evaluation.model_validate(run.folder.read_json("evaluation.json")).metrics.values()
    if (run.path / "baseline.json").exists():
        ranks = Evaluation.model_validate(run.folder.read_json("baseline.json"))
        figures = ranks.in_range.figures if ranks.in_range is not None else ranks.figures
        found["degree"] = figures.sides["both"][ranks.ties].values()
    return found
