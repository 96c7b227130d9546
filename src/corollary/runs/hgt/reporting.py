"""Figures at the end of an HGT run: held-out ranks beside the simplest baseline, and what was leaked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from corollary.budget import MIB
from corollary.evaluation.degree_baseline import DegreeBaseline
from corollary.evaluation.metrics import Evaluation, Metrics
from corollary.evaluation.ranking import rank_split
from corollary.learners.hgt.model import Hgt
from corollary.messages import Say
from corollary.runs.evaluating import evaluate
from corollary.runs.hgt.auditing import audit
from corollary.runs.hgt.options import HgtOptions
from corollary.runs.run import Run

_MOST_BASELINE = 512 * MIB


@dataclass(frozen=True)
class Beside:
    """Test figures of the model and of what it has to beat, by name, all among the same candidates."""

    candidates: Literal["all", "types"]
    """types: entities of the types that answer the relation in train."""
    columns: dict[str, Metrics]

    def values(self) -> dict[str, dict[str, float | None]]:
        """Figures by column."""
        return {name: metrics.values() for name, metrics in self.columns.items()}


def conclude_hgt(run: Run, say: Say) -> Mapping[str, float | None]:
    """Test figures among all entities, the degree baseline's in `baseline.json`, the audit in `audit.json`."""
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
    candidates: Literal["types"] | None = None if run.graph.types is None else "types"
    found = evaluate(run, "test", candidates=candidates).metrics.values()
    if 8 * run.graph.num_relations * run.graph.num_entities > _MOST_BASELINE:
        return found
    config, plan = options.evaluation, run.folder.config["plan"]
    ranks = rank_split(
        DegreeBaseline(run.graph), run.graph, "test", filter=config.filter, ties=config.ties, hits=config.hits,
        resamples=config.resamples, candidates=candidates,
        chunk=plan["evaluation_chunk"], block_rows=plan["block_rows"], seed=options.seed,
    )  # fmt: skip
    run.folder.write_json("baseline.json", ranks.model_dump(mode="json"))
    figures = figures_of(run)
    among = "entities of the answer's type" if figures.candidates == "types" else "all entities"
    mrr = {name: f"{metrics.mrr:.4f}" for name, metrics in figures.columns.items()}
    say(f"test mrr among {among}: {mrr['hgt']}, of the degree product {mrr['degree']}")
    return found


def figures_of(run: Run) -> Beside:
    """Test figures of the model and of the degree baseline; no columns without a test.

    Among entities of the answer's types where every column was ranked so, as it is at the end of a training.
    """
    found = {
        name: Evaluation.model_validate(run.folder.read_json(file))
        for name, file in (("hgt", "evaluation.json"), ("degree", "baseline.json"))
        if (run.path / file).exists()
    }
    typed = {name: one.in_range.figures for name, one in found.items() if one.in_range is not None}
    if found and len(typed) == len(found):
        return Beside("types", {name: typed[name].sides["both"][one.ties] for name, one in found.items()})
    return Beside("all", {name: one.metrics for name, one in found.items()})
