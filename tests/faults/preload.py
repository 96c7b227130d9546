"""What the server of processes imports, so that no life has to."""

import matplotlib.figure  # noqa: F401
import torch  # noqa: F401

import corollary.cli.main
import corollary.graph.info
import corollary.graph.splits
import corollary.reports.html
import corollary.runs.exporting
import corollary.runs.importing
import corollary.runs.predicting
import corollary.runs.conve  # noqa: F401
