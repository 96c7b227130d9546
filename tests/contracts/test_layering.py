"""The picture of the rooms in STYLE.md is true."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import cli

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = [
    "corollary",
    "corollary.budget",
    "corollary.cli.main",
    "corollary.config",
    "corollary.errors",
    "corollary.graph.folder",
    "corollary.kernels.convolution",
    "corollary.messages",
    "corollary.randomness",
    "corollary.records.run_folder",
    "corollary.reports.html",
    "corollary.storage",
    "corollary.web.app",
]


def test_a_room_imports_only_from_the_rows_below_it(capsys):
    """As `.importlinter` writes it down; a room that is not in it fails too."""
    broken = cli.lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True, no_logo=True)
    assert not broken, capsys.readouterr().out


def test_rooms_that_do_without_torch_do_not_import_it():
    """Each module in a fresh interpreter, as `corollary --help` and the reports need it; measured, torch takes 2.5 s."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, f'{name} imports torch'"
    )
    done = subprocess.run([sys.executable, "-c", script, *WITHOUT_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ["graph", "kernels", "records", "reports", "web"])
def test_every_module_of_these_rooms_does_without_torch(room):
    """Written nowhere in them, not even inside a function."""
    place = Path(str(importlib.util.find_spec("corollary").submodule_search_locations[0])) / room
    lines = [line.strip() for file in sorted(place.rglob("*.py")) for line in file.read_text().splitlines()]
    assert [line for line in lines if line.startswith(("import torch", "from torch"))] == []
