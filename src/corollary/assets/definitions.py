"""Assets, checks, resources and a job of them all."""

import dagster as dg

from corollary.assets.checks import CHECKS
from corollary.assets.pipeline import (
    graph_asset,
    hgt_embeddings,
    pair_classifier,
    repurposing_predictions,
    splits,
)
from corollary.assets.resources import ParquetFiles, Repurposing

ASSETS = [graph_asset, splits, hgt_embeddings, pair_classifier, repurposing_predictions]

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    resources={"repurposing": Repurposing(), "parquet": ParquetFiles()},
    executor=dg.in_process_executor,  # stages share one folder, which one process at a time may write to
)
"""What `dagster dev -m corollary.assets` shows."""
