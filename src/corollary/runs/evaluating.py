"""Figures of a run on a split of its graph, written to its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from corollary.errors import GraphError
from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.messages import Say
from corollary.runs.run import Run


def evaluate(
    run: Run,
    split: str = "test",
    *,
    filter: Literal["known", "train+valid", "train"] | None = None,
    candidates: Literal["types"] | None = None,
    ranks_path: Path | None = None,
) -> Evaluation:
    """Exact filtered ranks of every triple of `split` that the run can be asked for: those of its targets, both sides or
    one.

    Those of `test` go to `evaluation.json`, where checkpoint and filter are the run's own.

    Args:
        filter: facts left out of the competition; the run's own setting when not given.
        candidates: `types` adds the figures among entities of the relation's range types to the full ones.
        ranks_path: a Parquet file for the rank of every triple and side.

    Memory: one chunk of queries times one block of entities, whatever the number of triples.
    """
    ranking, plan = run.ranking, run.folder.config["plan"]
    config = ranking.evaluation
    run.graph.verify()
    if ranking.targets and not len(ranking.triples(run.graph, split)):
        raise GraphError(
            f"split {split!r} of graph {run.graph.name} holds no triples of {ranking.asked} of {run.path}: "
            "there is nothing to rank"
        )
    result = rank_split(
        run.scorer,
        run.graph,
        split,
        side=ranking.side,
        relations=ranking.relations(run.graph),
        filter=filter or config.filter,
        chunk=plan["evaluation_chunk"],
        block_rows=plan["block_rows"],
        hits=config.hits,
        ties=config.ties,
        resamples=config.resamples,
        candidates=candidates,
        ranks_path=ranks_path,
        seed=run.options.seed,
    )
    own = filter in (None, config.filter) and run.checkpoint == config.checkpoint
    if split == "test" and own:
        run.folder.write_json("evaluation.json", result.model_dump(mode="json"))
    return result


def conclude(run: Run, say: Say) -> Mapping[str, float | None]:
    """Figures on the test split at the end of a training; none where there is no such split."""
    if not run.graph.info.num_triples.get("test", 0):
        return {}
    say("ranking the test triples")
    return evaluate(run, "test").metrics.values()
