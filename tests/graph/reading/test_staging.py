"""The database behind an import: it leaves nothing, and what it says becomes a message with a remedy."""

from pathlib import Path

import duckdb
import pytest

from corollary.budget import MIB
from corollary.errors import PlanDoesNotFit, StorageError
from corollary.graph.reading.staging import Staging, count_rows


def test_it_starts_with_empty_tables_and_leaves_nothing(tmp_path: Path):
    """Whether the work succeeds or fails."""
    with Staging(tmp_path / "new", 100 * MIB) as staging:
        tables = ("nodes", "edges", "entity_ids", "relation_ids")
        assert [count_rows(staging.connection, table) for table in tables] == [0, 0, 0, 0]
        assert staging.folder.is_dir()
    with pytest.raises(ZeroDivisionError), Staging(tmp_path / "new", None):
        raise ZeroDivisionError
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (
            duckdb.OutOfMemoryException("64 MiB used"),
            PlanDoesNotFit,
            r"ran out of its share of 100.0 MiB .* raise --memory-limit",
        ),
        (
            duckdb.IOException("No space left on device"),
            StorageError,
            r"the disk is full: free some space or choose",
        ),
    ],
)
def test_a_full_memory_or_disk_is_said_plainly(tmp_path: Path, error, expected, message):
    """In the words of the program, not of the database."""
    with pytest.raises(expected, match=message), Staging(tmp_path, 100 * MIB):
        raise error


def test_work_that_does_not_fit_its_share_is_stopped(tmp_path: Path):
    """The limit is DuckDB's own: it stops before it takes more."""
    with pytest.raises(PlanDoesNotFit, match="ran out of its share"), Staging(tmp_path, 64 * MIB) as staging:
        staging.connection.execute(
            "SELECT list(repeat('x', 1000) || i) FROM range(200000) AS t(i)"
        ).fetchall()


def test_a_share_that_is_too_small_is_refused(tmp_path: Path):
    """Before any work."""
    with pytest.raises(
        PlanDoesNotFit, match=r"needs at least 64.0 MiB .* and 10.0 MiB are left of the memory limit"
    ):
        Staging(tmp_path, 10 * MIB)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    """A file in the place of a folder."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="a part of the path is a file"),
        Staging(tmp_path / "file" / "x", None),
    ):
        pass
