"""The assets: graph, splits, embeddings, classifiers by fold, lists.

data/03_primary/countries                              the embedded graph, where no other is named
data/05_model_input/splits.parquet                     every known pair and the fold that hides it
data/06_models/embeddings/hgt_embeddings.csv           a vector for every node
data/06_models/repurposing-.../                        trainings, classifiers, figures, lists, report.html
data/07_model_output/repurposing_predictions.parquet   the lists

Materialising is cheap where a stage is finished: it is taken from its folder. One run at a time may write to it.
"""

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import dagster as dg
import pandas

from corollary.assets.resources import FOLDS, Repurposing
from corollary.assets.showing import figures, table
from corollary.graph.folder import Graph
from corollary.repurpose.pairs import Fold
from corollary.repurpose.pipeline import Repurposing as Finished
from corollary.repurpose.reporting import conclude
from corollary.repurpose.splitting import leaked, truth_of
from corollary.repurpose.stages import Stages
from corollary.runs.hgt.embedding import embed
from corollary.storage import sha256

GROUP = "repurposing"
FINAL = "all"
"""The partition whose classifier sees every known pair: the lists come from it."""
folds = dg.StaticPartitionsDefinition([*(f"rows-{number}" for number in range(FOLDS)), FINAL])
VERSION = metadata.version("corollary")
_GAINS = 15


@dg.asset(group_name=GROUP, code_version=VERSION, name="graph", kinds={"parquet"})
def graph_asset(repurposing: Repurposing) -> dg.MaterializeResult:
    """The graph folder, checked against its checksums."""
    graph = repurposing.opened()
    graph.verify()
    counts = {f"{split} triples": count for split, count in graph.info.num_triples.items()}
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(graph.path),
            "nodes": graph.num_entities,
            "relations": graph.num_relations,
            "node types": ", ".join(graph.info.node_types),
            **counts,
        },
        data_version=dg.DataVersion(graph.fingerprint),
    )


@dg.asset(
    group_name=GROUP,
    code_version=VERSION,
    deps=[graph_asset],
    io_manager_key="parquet",
    metadata={"folder": "05_model_input"},
    kinds={"parquet"},
)
def splits(context: dg.AssetExecutionContext, repurposing: Repurposing) -> pandas.DataFrame:
    """Every held-out pair of every fold: scheme, fold, row, column."""
    stages = repurposing.stages(context.log.info)
    parts = []
    for scheme in stages.config.splitting.schemes:
        for fold in stages.folds(scheme):
            parts.append(
                pandas.DataFrame(
                    {
                        "scheme": scheme,
                        "fold": fold.name,
                        "row": [stages.pairs.rows.labels[row] for row in fold.positives[:, 0]],
                        "column": [stages.pairs.columns.labels[column] for column in fold.positives[:, 1]],
                    }
                )
            )
    found = pandas.concat(parts, ignore_index=True)
    counts = found.groupby(["scheme", "fold"], sort=False).size().reset_index().to_numpy().tolist()
    context.add_output_metadata({"held-out pairs": table(["scheme", "fold", "pairs"], counts)})
    return found


@dg.asset(group_name=GROUP, code_version=VERSION, deps=[splits], kinds={"torch", "csv"})
def hgt_embeddings(context: dg.AssetExecutionContext, repurposing: Repurposing) -> dg.MaterializeResult:
    """A vector for every node, from an HGT that has not seen the answers it is to help find."""
    stages = repurposing.stages(context.log.info)
    with stages.folder.lock():
        (run,) = stages.learned.runs(stages.answering.parts(stages.final)[0].hidden)[:1]
    path = embeddings_path(repurposing)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = embed(run, path)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(path),
            "run": dg.MetadataValue.path(run.path),
            "dagster/row_count": found.rows,
            "dimensions": found.dim,
            "epochs": len(run.folder.metrics()),
        },
        data_version=dg.DataVersion(sha256(path)),
    )


def embeddings_path(repurposing: Repurposing) -> Path:
    """Where the vectors are written."""
    return Path(repurposing.data) / "06_models" / "embeddings" / "hgt_embeddings.csv"


@dg.asset(
    group_name=GROUP,
    code_version=VERSION,
    deps=[splits, hgt_embeddings],
    partitions_def=folds,
    kinds={"xgboost"},
    check_specs=[
        dg.AssetCheckSpec(
            "nothing_hidden_was_learned_from",
            asset="pair_classifier",
            blocking=True,
            description="The graph that the fold's learners saw links no pair that the fold hides or asks for.",
        )
    ],
)
def pair_classifier(context: dg.AssetExecutionContext, repurposing: Repurposing) -> dg.MaterializeResult:
    """Boosted trees and their calibration, trained without what the fold hides; the partition `all` sees every pair."""
    stages = repurposing.stages(context.log.info)
    fold = fold_of(stages, context.partition_key)
    with stages.folder.lock():
        scores = stages.answer(fold)
    found = links_to_hidden(stages, fold)
    shown: dict[str, Any] = {
        "fold": fold.name,
        "rows answered": len(fold.asked),
        "known pairs seen": int((~fold.hidden).sum()),
        "known pairs hidden": int(fold.hidden.sum()),
        "features by gain": table(["feature", "share"], list(stages.answering.gains(fold).items())[:_GAINS]),
    }
    if len(fold.positives):
        truth = truth_of(stages.pairs, [fold])
        own = truth.of_asked(scores["classifier"])
        shown["mean log-odds of held-out answers"] = float(own.mean())
    return dg.MaterializeResult(
        metadata=shown,
        check_results=[
            dg.AssetCheckResult(
                check_name="nothing_hidden_was_learned_from",
                passed=found == 0,
                metadata={"linking triples": found},
            )
        ],
    )


def fold_of(stages: Stages, name: str) -> Fold:
    """The fold of a partition."""
    return stages.final if name == FINAL else next(one for one in stages.folds("rows") if one.name == name)


def links_to_hidden(stages: Stages, fold: Fold) -> int:
    """Triples of the learners' graphs that link a pair which they may not see, or which the fold hides or asks for."""
    found = 0
    for part in stages.answering.parts(fold):
        graph = Graph.open(stages.learned.cut(part.hidden) / "graph")
        found += leaked(graph, stages.pairs, replace(fold, hidden=fold.hidden | part.hidden))
    return found


@dg.asset(
    group_name=GROUP,
    code_version=VERSION,
    deps=[pair_classifier],
    io_manager_key="parquet",
    metadata={"folder": "07_model_output"},
    kinds={"parquet"},
)
def repurposing_predictions(context: dg.AssetExecutionContext, repurposing: Repurposing) -> pandas.DataFrame:
    """The lists with probabilities and evidence, the figures of every scheme, the report.

    Folds that no partition has answered yet are answered here.
    """
    stages = repurposing.stages(context.log.info)
    with stages.folder.lock():
        judged = [stages.judge(scheme) for scheme in stages.config.splitting.schemes]
        lists = stages.list_answers()
        report = conclude(stages)
    for one in judged:
        context.add_output_metadata(figures(one))
    context.add_output_metadata(
        {"report": dg.MetadataValue.path(report), "lists": dg.MetadataValue.path(lists)}
    )
    return Finished.open(stages.output).to_pandas()
