"""Short questions to DuckDB."""

import duckdb


def one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    """The only row of a query that has one: counts and the like."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row


def count_rows(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    """Rows of a table, or of `TABLE WHERE ...`."""
    return one_row(connection, f"SELECT count(*) FROM {what}")[0]
