"""A small ConvE and counted rules on the countries, opened."""

from pathlib import Path

import pytest

from corollary.runs.run import Run


@pytest.fixture(scope="session")
def runs(explained: Path) -> list[Run]:
    return [Run.open(explained / "run"), Run.open(explained / "rules")]
