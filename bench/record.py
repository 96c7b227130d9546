"""Where a bench ran, and the line that it leaves in results/."""

import json
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from corollary.runs.device import cpu_kind

RESULTS = Path(__file__).parent / "results"


def machine_line() -> dict[str, Any]:
    """Commit, day, processor, threads, torch."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip(),
        "date": date.today().isoformat(),
        "processor": cpu_kind(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write_line(name: str, line: Mapping[str, Any]) -> None:
    """Append one JSON line to results/NAME.jsonl."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
