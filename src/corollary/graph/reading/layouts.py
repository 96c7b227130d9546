"""How a table of labels is laid out: guessed from its first lines, said aloud, and overruled when told.

Tab- and space-separated files know no quoting; others follow RFC 4180 (`"a, b"`, `""` for a quote inside), except
that a name holds no line break.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corollary.errors import ConfigError, InputError, unknown
from corollary.graph.reading.text_lines import lines_of

DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}
TRIPLE = ("head", "relation", "tail")
HEADER_NAMES = {
    "head": {"head", "h", "subject", "source", "src", "from", "start", "head_label", "start_id"},
    "relation": {"relation", "r", "rel", "predicate", "p", "edge", "edge_type", "metaedge", "relation_label"},
    "tail": {"tail", "t", "object", "target", "dst", "to", "end", "tail_label", "end_id"},
}
NODE_NAMES = {
    "label": {"label", "id", "node", "curie", "entity", "identifier", "node_id"},
    "name": {"name", "title", "node_name", "display_name"},
    "type": {"type", "kind", "class", "node_type"},
}
_SAMPLE = 200  # lines looked at to guess a layout


class Lines(Protocol):
    """How the lines of a file become fields: in SQL, which only marks what is wrong, and in words, which say it."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def parts(self) -> tuple[str, ...]: ...
    @property
    def first_row(self) -> int: ...
    @property
    def header(self) -> bool: ...
    @property
    def count_line(self) -> bool: ...
    @property
    def blank(self) -> str: ...
    @property
    def control(self) -> str: ...
    @property
    def sql(self) -> str: ...
    def problem(self, raw: bytes, optional: Collection[str] = ()) -> str: ...


@dataclass(frozen=True)
class Layout:
    """How the lines of one file are cut, and what each column is."""

    delimiter: str
    columns: tuple[str, ...]
    """The part that each column plays, `-` for one that is not read."""
    header: bool = False
    count_line: bool = False
    """Whether line 1 only says how many lines follow, as OpenKE writes it."""
    quotes: bool | None = None
    """Whether a field may stand in quotes; None asks the delimiter: not with tabs and spaces."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are read, in the order of the columns."""
        return tuple(part for part in self.columns if part != "-")

    @property
    def first_row(self) -> int:
        """Rows before the data."""
        return int(self.header) + int(self.count_line)

    @property
    def delimiter_name(self) -> str:
        names = {delimiter: name for name, delimiter in DELIMITERS.items()}
        return names.get(self.delimiter, repr(self.delimiter))

    def __str__(self) -> str:
        count = "a count on line 1, " if self.count_line else ""
        header = "a header" if self.header else "no header"
        return f"{self.delimiter_name}-separated, {count}{header}, columns {' '.join(self.columns)}"

    def split(self, line: str) -> list[str] | None:
        """The fields of one line; None where a quote is out of place. Same as `sql`."""
        if not self._quoted or '"' not in line:
            return line.split(self.delimiter)
        one, line = self._field, self.delimiter + line
        if not re.fullmatch(f"(?:{one})+", line):
            return None
        fields = re.findall(one, line)
        return [text[1:-1].replace('""', '"') if text.startswith('"') else text for text in fields]

    @property
    def sql(self) -> str:
        """SQL for the fields of the column `line`, as a list; NULL where a quote is out of place."""
        cut = f"string_split(line, {_literal(self.delimiter)})"
        if not self._quoted:
            return cut
        line, one = f"({_literal(self.delimiter)} || line)", _literal(self._field)
        return f"""CASE WHEN NOT contains(line, '"') THEN {cut}
            WHEN regexp_full_match({line}, '(?:' || {one} || ')+') THEN
                list_transform(regexp_extract_all({line}, {one}, 1),
                lambda x: CASE WHEN starts_with(x, '"') THEN replace(x[2:-2], '""', '"') ELSE x END) END"""

    @property
    def blank(self) -> str:
        """SQL for whether a line is passed over."""
        return "trim(line) = ''"

    @property
    def control(self) -> str:
        """Pattern of the characters that no line may hold."""
        return r"[\x00-\x08\x0a-\x1f\x7f]" if self.delimiter == "\t" else r"[\x00-\x1f\x7f]"

    def problem(self, raw: bytes, optional: Collection[str] = ()) -> str:
        """What is wrong with a line that SQL marked, and what was expected."""
        line = raw.decode(errors="replace")
        fields = self.split(line)
        shown = repr(line if len(line) <= 80 else f"{line[:77]}...")
        expected = f"expected {len(self.columns)} columns ({' '.join(self.columns)}), {self.delimiter_name}-separated"
        if found := re.search(self.control, line):
            return f"the control character {found[0]!r} in {shown}: {expected}"
        if fields is None:
            return f'a quote is out of place in {shown}: {expected}, with "" for a quote inside quotes'
        if len(fields) != len(self.columns):
            return f"{expected}, found {len(fields)} in {shown}"
        empty = [
            part for part, text in zip(self.columns, fields, strict=True) if not text and part not in optional
        ]
        return f"the {next(part for part in empty if part != '-')} is empty in {shown}: {expected}"

    @property
    def _quoted(self) -> bool:
        return self.delimiter not in "\t " if self.quotes is None else self.quotes

    @property
    def _field(self) -> str:
        """One field with the delimiter before it; the group is the field as written."""
        escaped = re.escape(self.delimiter)
        return f'{escaped}("(?:[^"]|"")*"|[^"{escaped}]*)'


def triple_layout(
    path: Path, *, delimiter: str | None = None, header: bool | None = None, columns: str | None = None
) -> Layout:
    """How a file of triples is laid out, from its first lines and what the user said.

    Args:
        header: None looks whether line 1 names head, relation and tail in some usual way.
        columns: parts in the order of the columns (`head,relation,tail`, `source`, `-` for others), or the names of
            the header's columns that are head, relation and tail.

    Raises `InputError` where the columns cannot be told from the file, `ConfigError` where it contradicts `columns`.
    """
    lines = sample(path)
    counted = len(lines) > 1 and is_count(lines[0]) and columns is None and not header
    body = lines[1:] if counted else lines
    cut = choose_delimiter(path, body, 3, delimiter)
    if counted:
        return Layout(cut, ("head", "tail", "relation"), count_line=True)
    first = [text.strip() for text in Layout(cut, ()).split(body[0]) or []]
    if columns is not None:
        return _told_layout(path, cut, columns, header, first)
    found = header_columns(first, HEADER_NAMES)
    if header is not False and set(found) >= set(TRIPLE):
        return Layout(cut, found, header=True)
    if header:
        raise InputError(
            f"{path}:1: the header {' '.join(first)!r} does not say which columns are head, relation and tail: "
            f"name them with --columns, for example --columns {','.join((first * 3)[:3])}"
        )
    if (width := _width(body, cut)) > 3:
        raise InputError(
            f"{path}:1: found {width} columns and no header that names head, relation and tail: say what they are "
            f"with --columns {','.join([*TRIPLE, *['-'] * (width - 3)])}"
        )
    return Layout(cut, TRIPLE)


def node_layout(path: Path) -> Layout:
    """How a file of names or nodes is laid out: label and name, or whatever its header says."""
    lines = sample(path)
    cut = choose_delimiter(path, lines, 2)
    first = Layout(cut, ()).split(lines[0]) or []
    found = header_columns(first, NODE_NAMES)
    if "label" in found and ("name" in found or "type" in found):
        return Layout(cut, found, header=True)
    if _width(lines, cut) != 2:
        raise InputError(
            f"{path}:1: expected two columns, label and name, or a header with id, name and type, "
            f"found {' '.join(first)!r}"
        )
    return Layout(cut, ("label", "name"))


def sample(path: Path) -> list[str]:
    """The first lines that are not blank. Raises `InputError` where there is none or they are no text."""
    found = []
    for number, raw in lines_of(path):
        if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{path}:1: the text is UTF-16: save the file as UTF-8")
        text = raw.decode(errors="replace")
        if text.strip(" "):
            found.append(text)
        if len(found) == _SAMPLE:
            break
    if not found:
        raise InputError(f"{path} is empty: expected at least one line")
    return found


def choose_delimiter(path: Path, lines: Sequence[str], columns: int, given: str | None = None) -> str:
    """The delimiter that cuts most lines into at least `columns` fields; the usual one where none does."""
    if given is not None:
        delimiter = DELIMITERS.get(given.lower(), given)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise ConfigError(f"--delimiter {given!r}: expected {', '.join(DELIMITERS)} or one character")
        return delimiter
    order = [",", ";", "\t", " "] if ".csv" in path.suffixes else ["\t", ",", ";", " "]
    return next((delimiter for delimiter in order if _width(lines, delimiter) >= columns), order[0])


def header_columns(first: Sequence[str], names: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The part of each column by the usual names of headers; `-` for others and for a second claim to a part."""
    parts: list[str] = []
    for text in first:
        word = text.strip().lstrip("#:").strip().lower()
        part = next((part for part, words in names.items() if word in words), "-")
        parts.append("-" if part in parts else part)
    return tuple(parts)


def is_count(line: str) -> bool:
    """Whether a line is one whole number alone."""
    return re.fullmatch("[0-9]{1,18}", line.strip(" \t")) is not None


def _told_layout(
    path: Path, delimiter: str, columns: str, header: bool | None, first: Sequence[str]
) -> Layout:
    """The layout that `columns` describes: by the header's names where it uses them, else by position."""
    parts = [part.strip() for part in columns.split(",")]
    known = {*TRIPLE, "source", "-"}
    if header is not False and all(part in first for part in parts if part != "-"):
        by_part = set(parts) <= known
        roles = dict(zip(parts, parts if by_part else TRIPLE, strict=False))
        if sorted(role for role in roles.values() if role in TRIPLE) != sorted(TRIPLE):
            raise ConfigError(f"--columns {columns}: expected the three columns of head, relation and tail")
        return Layout(delimiter, tuple(roles.get(text, "-") for text in first), header=True)
    choices = set(first) if header is not False and set(parts) & set(first) - known else known
    if strange := [part for part in parts if part not in choices]:
        raise ConfigError(unknown("column", strange[0], sorted(choices), where=f"{path}:1"))
    if any(parts.count(part) != 1 for part in TRIPLE) or parts.count("source") > 1:
        raise ConfigError(
            f"--columns {columns}: expected head, relation and tail once each, and - for others"
        )
    return Layout(delimiter, tuple(parts), header=bool(header))


def _width(lines: Sequence[str], delimiter: str) -> int:
    """The number of fields that most lines have."""
    layout = Layout(delimiter, ())
    widths = Counter(len(fields) for line in lines if (fields := layout.split(line)) is not None)
    return widths.most_common(1)[0][0] if widths else 0


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
