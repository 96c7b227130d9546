"""How one KGX file is laid out, as SQL that takes its lines apart, and as words when a line is wrong."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corollary.errors import InputError
from corollary.graph.reading.text_lines import first_line

SEPARATOR = "\x1f"  # between qualifiers; no value holds a control character

GOOD, BAD, IGNORED = 0, 1, 2
"""State of a row: to be used, to be reported, blank or a header."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Layout:
    """One file: `wanted` are the fields that are read, `required` those that no line may lack."""

    path: Path
    kind: Literal["tsv", "jsonl"]
    columns: tuple[str, ...]
    """The header of a TSV file; the keys of the first line of a JSON lines file."""
    header: str
    """The text of a TSV file's first line."""
    wanted: tuple[str, ...]
    required: tuple[str, ...]

    @property
    def rows(self) -> str:
        """SQL relation with `line` and its parts `f`."""
        if self.kind == "tsv":
            return "(SELECT line, string_split(line, chr(9)) AS f FROM lines)"
        pointers = ", ".join(_text("/" + name.replace("~", "~0").replace("/", "~1")) for name in self.wanted)
        return f"(SELECT line, TRY(json_extract(line, [{pointers}])) AS f FROM lines)"

    def text(self, name: str) -> str:
        """SQL for a field as text, empty where it is absent; the values of a list are joined by `|`."""
        part = self._part(name)
        if self.kind == "tsv" or not part:
            return f"coalesce({part}, '')" if part else "''"
        return (
            f"CASE json_type({part}) WHEN 'ARRAY' THEN array_to_string({part} ->> '$[*]', '|') "
            f"ELSE coalesce({part} ->> '$', '') END"
        )

    def items(self, name: str) -> str:
        """SQL for a field as a list of texts: a JSON array, also inside TSV, or a text divided at `|`."""
        part = self._part(name)
        if not part:
            return "[]::VARCHAR[]"
        if self.kind == "tsv":
            array, text = f"starts_with({part}, '[') AND json_valid({part})", part
        else:
            array, text = f"json_type({part}) = 'ARRAY'", f"({part} ->> '$')"
        split = f"CASE WHEN {array} THEN {part}::JSON ->> '$[*]' ELSE string_split({text}, '|') END"
        return f"coalesce(list_filter({split}, lambda item: item <> ''), [])"

    @property
    def state(self) -> str:
        """SQL for the state of a row."""
        tests = []
        for name in self.required:
            value = self.text(name)
            tests += [f"trim({value}) = ''", f"regexp_matches({value}, '[\\x00-\\x1f\\x7f]')"]
            if self.kind == "jsonl":
                tests.append(f"coalesce(json_type({self._part(name)}), '') <> 'VARCHAR'")
        if self.kind == "tsv":
            tests.insert(0, f"len(f) <> {len(self.columns)}")
        ignored = f"trim(line) = ''{f' OR line = {_text(self.header)}' if self.kind == 'tsv' else ''}"
        return f"CASE WHEN {ignored} THEN {IGNORED} WHEN {' OR '.join(tests)} THEN {BAD} ELSE {GOOD} END"

    def problem(self, raw: bytes) -> str:
        """What is wrong with the form of a line; empty where nothing is."""
        values = self.values(raw)
        if isinstance(values, str):
            return values
        for name in self.required:
            value = values.get(name)
            if value is None:
                return f"{name!r} is missing"
            if not isinstance(value, str):
                return f"{name!r} is {json.dumps(value)[:60]}: expected text"
            if not value.strip(" "):
                return f"{name!r} is empty"
            if _CONTROL.search(value):
                return f"{name!r} holds a control character: {value!r}"
        return ""

    def values(self, raw: bytes) -> dict[str, Any] | str:
        """The fields of a line, or why it has none."""
        text = raw.decode(errors="replace")
        return self._tsv_values(text) if self.kind == "tsv" else self._json_values(text)

    def _tsv_values(self, text: str) -> dict[str, Any] | str:
        fields = text.split("\t")
        if len(fields) != len(self.columns):
            return f"the line has {len(fields)} columns, its header has {len(self.columns)}"
        return dict(zip(self.columns, fields, strict=True))

    def _json_values(self, text: str) -> dict[str, Any] | str:
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            return f"not valid JSON: {error.msg} at character {error.colno}"
        except (RecursionError, ValueError):
            return "not valid JSON: nested too deeply, or a number too long"
        return value if isinstance(value, dict) else f"expected a JSON object, found {text[:60]}"

    def describe(self) -> str:
        """How the file was read, in words."""
        form = "KGX TSV" if self.kind == "tsv" else "KGX JSON lines"
        return f"{form}: {', '.join(name for name in self.wanted if self.kind == 'jsonl' or name in self.columns)}"

    def _part(self, name: str) -> str:
        if self.kind == "tsv":
            return f"f[{self.columns.index(name) + 1}]" if name in self.columns else ""
        return f"f[{self.wanted.index(name) + 1}]"


def layout_of(path: Path, wanted: Sequence[str], required: Sequence[str]) -> Layout:
    """Find out how a file is laid out. Raises `InputError` where a required column is missing."""
    line = first_line(path)
    if line.lstrip().startswith("{"):
        try:
            keys = tuple(json.loads(line))
        except (ValueError, RecursionError):
            keys = ()
        return Layout(path, "jsonl", keys, "", tuple(wanted), tuple(required))
    if line.lstrip().startswith("["):
        raise InputError(
            f"{path} is a JSON array: KGX JSON lines have one object a line, without brackets around"
        )
    columns = tuple(name.strip() for name in line.split("\t"))
    expected = f"expected a header of TAB-separated columns with {', '.join(required)}"
    if len(columns) == 1 and "," in line:
        raise InputError(f"{path}: the columns are separated by commas: {expected}")
    for name in required:
        if name not in columns:
            found = ", ".join(map(repr, columns[:12]))
            raise InputError(f"{path}: there is no column {name!r}, only {found}: {expected}")
    for name in wanted:
        if columns.count(name) > 1:
            raise InputError(f"{path}: the header names the column {name!r} {columns.count(name)} times")
    return Layout(path, "tsv", columns, line, tuple(wanted), tuple(required))


def _text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
