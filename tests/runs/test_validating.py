"""Embeddings are read from CSV and Parquet alike, and what is wrong with a file is named."""

import csv

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from corollary.cli.main import app
from corollary.errors import InputError
from corollary.runs.validating import read_embeddings, validate_embeddings


def write_csv(path, x, types):
    with path.open("w", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["id", "type", "name", *(f"e{i}" for i in range(x.shape[1]))])
        for number, (row, kind) in enumerate(zip(x.tolist(), types, strict=True)):
            writer.writerow([f"n{number}", kind, f"node, {number}", *row])
    return path


@pytest.fixture
def healthy(tmp_path):
    x = np.random.default_rng(0).standard_normal((80, 6))
    return write_csv(tmp_path / "e.csv", x, ["a", "b"] * 40), x


def test_csv_and_parquet_give_the_same(healthy, tmp_path):
    """Columns of numbers, and one column of lists."""
    path, x = healthy
    duckdb.sql(f"COPY (SELECT * FROM '{path}') TO '{tmp_path / 'wide.parquet'}' (FORMAT parquet)")
    columns = ", ".join(f"e{i}" for i in range(6))
    duckdb.sql(
        f"COPY (SELECT id AS label, type, [{columns}]::DOUBLE[6] AS embedding FROM '{path}') "
        f"TO '{tmp_path / 'list.parquet'}' (FORMAT parquet)"
    )
    for file in (path, tmp_path / "wide.parquet", tmp_path / "list.parquet"):
        found = read_embeddings(file)
        np.testing.assert_allclose(found.vectors, x)
        assert found.ids[:2] == ["n0", "n1"]
        assert found.types == ["a", "b"] * 40
        assert validate_embeddings(file).verdict == "healthy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,e0\nn0,1\nn1,x\n", "e.csv:3: could not convert"),
        ("id,e0,e1\nn0,1\n", "e.csv:2: 2 fields where the header has 3"),
        ("id,type\nn0,a\n", "no columns of numbers"),
        ("id,e0\n", "a header and no rows"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_embeddings(tmp_path / "e.csv")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "e.bin").write_bytes(b"x")
    (tmp_path / "e.parquet").write_bytes(b"x")
    for name, message in (
        ("e.bin", ".csv, .tsv or .parquet"),
        ("e.parquet", "Parquet"),
        ("no.csv", "no such"),
    ):
        with pytest.raises(InputError, match=message):
            read_embeddings(tmp_path / name)


def test_the_command_exits_with_the_verdict_and_writes_a_page(healthy, tmp_path):
    """0 for healthy, 1 for failed; the page holds the verdict and its plots."""
    path, x = healthy
    page = tmp_path / "page.html"
    good = CliRunner().invoke(app, ["validate-embeddings", str(path), "--page", str(page), "--json"])
    assert good.exit_code == 0, good.output
    assert "healthy" in page.read_text()
    assert "data:image/png" in page.read_text()
    x[::2] = np.outer(x[::2, 0], x[0])
    bad = CliRunner().invoke(app, ["validate-embeddings", str(write_csv(path, x, ["a", "b"] * 40)), "--json"])
    assert bad.exit_code == 1
    assert "a has collapsed" in bad.output
