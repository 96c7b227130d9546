"""The database behind an import: it leaves nothing, and what it says becomes a message with a remedy."""

import re
from pathlib import Path

import duckdb
import pytest

from corollary.budget import MIB, Budget, parse_bytes, resident_bytes
from corollary.errors import PlanDoesNotFit, StorageError
from corollary.graph.reading.staging import A_THREAD, BESIDE, SHARE, SMALLEST, Staging, count_rows


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


def test_a_budget_that_is_too_small_is_refused(tmp_path: Path):
    """Before any work, with every part and their sum."""
    with pytest.raises(PlanDoesNotFit) as caught:
        Staging.within(tmp_path, Budget(limit=100 * MIB), "reading it")
    message = str(caught.value)
    assert message.startswith("reading it needs at least ")
    total, process, lines, database = (
        float(text) for text in re.findall(r"[0-9]+\.[0-9]", message.replace("100.0", ""))
    )
    assert total == pytest.approx(process + lines + database, abs=0.2)
    assert message.endswith("(MiB). Raise --memory-limit.")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_is_shared_out(tmp_path: Path):
    """DuckDB gets what is left beside the process and beside what it takes outside its limit, by thread."""
    free = 1000 * MIB
    with Staging.within(tmp_path, Budget(limit=resident_bytes() + free), "reading") as staging:
        row = staging.connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('threads')"
        ).fetchone()
    assert row is not None
    share, threads = parse_bytes(row[0]), row[1]
    assert 1 <= threads <= free // (A_THREAD + SMALLEST)
    assert share == pytest.approx(SHARE * (free - BESIDE - threads * A_THREAD), abs=16 * MIB)


def test_a_large_statement_is_tried_again_with_one_thread(tmp_path: Path):
    """Where that gets through nothing is said; the settings are as before."""
    with Staging(tmp_path, 100 * MIB, threads=2) as staging:
        real, tried = staging.connection, []

        class Failing:
            def execute(self, query, values=None):
                if query == "LARGE":
                    tried.append(real.execute("SELECT current_setting('threads')").fetchone())
                    if len(tried) == 1:
                        raise duckdb.OutOfMemoryException("no")
                    return None
                return real.execute(query, values)

        staging.connection = Failing()
        staging.execute_large("LARGE")
        staging.connection = real
        assert tried == [(2,), (1,)]
        settings = real.execute("SELECT current_setting('threads'), current_setting('disabled_optimizers')")
        assert settings.fetchone() == (2, "")


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    """A file in the place of a folder."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="a part of the path is a file"),
        Staging(tmp_path / "file" / "x", None),
    ):
        pass
