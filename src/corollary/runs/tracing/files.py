"""The files of a result, and files of names that go into it.

tracin_results.json     everything, one object an asked triple
.csv                    a row an influence, with the columns that the older ConvE-TracIn scripts wrote
.parquet                the same rows
"""

import json
from pathlib import Path

import duckdb

from corollary.errors import InputError
from corollary.runs.tracing.results import Suspects, TracInResult
from corollary.storage import new_file, write_text


def read_names(path: Path) -> dict[str, str]:
    """Names by label from a JSON object or lines of `label<TAB>name`. Raises `InputError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if path.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
            raise InputError(f"{path}: expected an object of labels and their names")
        return found
    names = {}
    for number, line in enumerate(text.splitlines(), start=1):
        label, tab, name = line.partition("\t")
        if line.strip() and not tab:
            raise InputError(f"{path}:{number}: expected a label and a name with a tab between them")
        names[label] = name
    return names


def write_json(found: TracInResult | Suspects, path: Path) -> None:
    """Everything, as a whole file or not at all; memory does not grow with the influences that are listed."""
    if isinstance(found, Suspects):
        write_text(path, json.dumps(found.as_dict(), indent=1, ensure_ascii=False) + "\n")
        return
    encoder = json.JSONEncoder(indent=1, ensure_ascii=False)
    with new_file(path) as partial, partial.open("w", encoding="utf-8") as out:
        for piece in encoder.iterencode(found.streamed()):
            out.write(piece)
        out.write("\n")


def write_table(found: TracInResult | Suspects, path: Path) -> None:
    """Rows as `.csv` or `.parquet`, as the name of the file says. Raises `InputError` for another one."""
    check_table(path)
    tables = iter([found.to_pandas()]) if isinstance(found, Suspects) else found.tables()
    first = next(tables, None)
    first = found.to_pandas() if first is None else first
    with new_file(path) as partial:
        if path.suffix == ".csv":
            with partial.open("w", encoding="utf-8", newline="") as out:
                first.to_csv(out, index=False)
                for table in tables:
                    table.to_csv(out, index=False, header=False)
            return
        with duckdb.connect(str(partial.with_name("rows.duckdb"))) as connection:
            connection.execute("SET memory_limit = '64MB'")
            connection.execute("SET enable_progress_bar = false")
            connection.register("part", first)
            connection.execute("CREATE TABLE found AS SELECT * FROM part")
            for table in tables:
                connection.register("part", table)
                connection.execute("INSERT INTO found SELECT * FROM part")
            connection.table("found").write_parquet(str(partial))


def check_table(path: Path) -> None:
    """Raises `InputError` where the name of a file does not say its format."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: the name should end in .csv or .parquet")
