"""Figures of a run on a split of its graph, written to its folder."""

from pathlib import Path
from typing import Literal

from corollary.evaluation.metrics import Evaluation
from corollary.evaluation.ranking import rank_split
from corollary.runs.run import Run


def evaluate(
    run: Run,
    split: str = "test",
    *,
    filter: Literal["known", "train+valid", "train"] | None = None,
    candidates: Literal["types"] | None = None,
    ranks_path: Path | None = None,
) -> Evaluation:
    """Exact filtered ranks of every triple of `split`, both sides, or the one that the model can be asked for.

    Those of `test` go to `evaluation.json`, where checkpoint and filter are the run's own.

    Args:
        filter: facts left out of the competition; the run's own setting when not given.
        candidates: `types` adds the figures among entities of the relation's range types to the full ones.
        ranks_path: a Parquet file for the rank of every triple and side.

    Memory: one chunk of queries times one block of entities, whatever the number of triples.
    """
    config = run.config
    run.graph.verify()
    result = rank_split(
        run.model,
        run.graph,
        split,
        side=None if config.model.sides == "both" else config.model.sides,
        filter=filter or config.evaluation.filter,
        chunk=run.folder.config["plan"]["evaluation_chunk"],
        block_rows=config.model.block_rows,
        hits=config.evaluation.hits,
        ties=config.evaluation.ties,
        resamples=config.evaluation.resamples,
        candidates=candidates,
        ranks_path=ranks_path,
        seed=config.seed,
    )
    own = filter in (None, config.evaluation.filter) and run.checkpoint == config.evaluation.checkpoint
    if split == "test" and own:
        run.folder.write_json("evaluation.json", result.model_dump(mode="json"))
    return result
