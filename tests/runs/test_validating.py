"""Embeddings are read from CSV and Parquet alike, and what is wrong with a file is named."""

import csv

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

from corollary.cli.main import app
from corollary.errors import InputError
from corollary.graph.folder import write_graph
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


def test_text_that_is_not_utf8_is_named_and_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    """Spreadsheets write both."""
    path = tmp_path / "e.csv"
    path.write_bytes("id,größe\nn0,1\n".encode("latin-1"))
    with pytest.raises(InputError, match="e.csv: the text is not UTF-8 .*0xf6.*: save the file as UTF-8"):
        read_embeddings(path)
    path.write_bytes("\ufeffid,größe\nn0,1\nn1,2\n".encode())
    found = read_embeddings(path)
    assert (found.ids, found.has_ids, found.vectors.tolist()) == (["n0", "n1"], True, [[1.0], [2.0]])


def parquet(path, rows):
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {rows[1]}) AS t({rows[0]})) TO '{path}' (FORMAT parquet)")
    return path


@pytest.mark.parametrize(
    "rows",
    [
        ("id, a, b", "('n0', 1.0, 2.0), ('n1', NULL, 3.0), ('n2', NULL, NULL)"),
        ("id, e", "('n0', [1.0, 2.0]), ('n1', [NULL, 3.0]), ('n2', NULL)"),
        ("id, e", "('n0', [1.0, 2.0]::DOUBLE[2]), ('n1', [NULL, 3.0]), ('n2', NULL)"),
    ],
)
def test_null_is_no_number(tmp_path, rows):
    """It is NaN, in columns and in lists, and the file fails for it."""
    path = parquet(tmp_path / "e.parquet", rows)
    found = read_embeddings(path)
    np.testing.assert_array_equal(found.vectors, [[1, 2], [np.nan, 3], [np.nan, np.nan]])
    health = validate_embeddings(path)
    assert (health.verdict, health.share_not_finite) == ("failed", pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("id, e0", "('n0', 1.0), (NULL, 2.0)"), "e.parquet: id is NULL in 1 rows, first in row 2"),
        (("type, e0", "('a', 1.0), (NULL, 2.0)"), "e.parquet: type is NULL in 1 rows"),
        (("id, e, f", "('n0', [1.0], [2.0])"), "lists in e, and more columns beside: f. Keep the one"),
        (("id, degree, e", "('n0', 3, [1.0])"), "lists in e, and more columns beside: degree"),
        (("id, e", "('n0', [1.0]), ('n1', [1.0, 2.0])"), "embeddings of different lengths"),
    ],
)
def test_parquet_that_is_not_clear_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_embeddings(parquet(tmp_path / "e.parquet", rows))


def test_rows_without_ids_are_all_nodes_in_their_order(tmp_path):
    """Their numbers are not taken for labels, even where the graph's labels are numbers."""
    labels = [str(number) for number in reversed(range(30))]
    graph = write_graph(
        tmp_path / "graph",
        name="numbers",
        labels=labels,
        relations=["r"],
        triples={"train": np.array([(0, 0, node) for node in range(1, 30)])},
        types=["hub"] + ["leaf"] * 29,
    )
    x = np.random.default_rng(0).standard_normal((30, 3))
    x[0] = 0
    path = tmp_path / "e.csv"
    path.write_text("a,b,c\n" + "".join(",".join(map(repr, row)) + "\n" for row in x.tolist()))
    assert [(kind.name, kind.rows) for kind in validate_embeddings(path, graph=graph).types] == [("leaf", 29)]
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(InputError, match="has 1 rows and no column of ids, and numbers has 30 nodes"):
        validate_embeddings(path, graph=graph)


def test_a_seed_below_zero_is_refused(healthy):
    done = CliRunner().invoke(app, ["validate-embeddings", str(healthy[0]), "--seed", "-1"])
    assert done.exit_code == 2
    assert "--seed" in done.output


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
