"""What `config.json` says of a run besides its options: learner, graph, machine, plan."""

from pathlib import Path
from typing import Any

import torch

from corollary.budget import Plan
from corollary.graph.folder import Graph
from corollary.runs.config import RunOptions
from corollary.runs.device import machine
from corollary.runs.run import place_to_record


def run_record(
    learner: str, output: Path, graph: Graph, options: RunOptions, plan: Plan, device: torch.device
) -> dict[str, Any]:
    """The content of `config.json`, for `Run.open`; `output` is where the run folder will stand."""
    return {
        "learner": learner,
        "graph": {
            "path": place_to_record(output, graph.path),
            "name": graph.name,
            "fingerprint": graph.fingerprint,
            "vocabulary_fingerprint": graph.info.vocabulary_fingerprint,
            "num_entities": graph.num_entities,
            "num_relations": graph.num_relations,
            "num_triples": graph.info.num_triples,
        },
        **options.model_dump(mode="json"),
        **machine(device),
        "plan": plan.model_dump(),
    }
