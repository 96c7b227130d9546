"""Reading tables of labels, slowly: one line after another, one character after another, everything in memory."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

CONTROL = set(map(chr, [*range(32), 127]))

Triple = tuple[str, ...]


def rows(data: bytes, delimiter: str, width: int, *, quotes: bool, header: bool = False) -> list[Triple]:
    """The fields of every line that is not blank. Raises `ValueError` for the first line that is wrong."""
    found = []
    for line in re.split(r"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")):
        if not line.strip(" "):
            continue
        if header:
            header = False
            continue
        fields = quoted_fields(line, delimiter) if quotes else line.split(delimiter)
        if len(fields) != width or not all(fields) or (set(line) - {delimiter}) & CONTROL:
            raise ValueError(line)
        if delimiter != "\t" and "\t" in line:
            raise ValueError(line)
        found.append(tuple(fields))
    if not found:
        raise ValueError("no line")
    return found


def quoted_fields(line: str, delimiter: str) -> list[str]:
    """The fields of one line of RFC 4180. Raises `ValueError` where a quote is out of place."""
    fields, place = [], 0
    while True:
        text = ""
        if line[place : place + 1] == '"':
            place += 1
            while line[place : place + 1] != '"' or line[place : place + 2] == '""':
                if place >= len(line):
                    raise ValueError("a quote is not closed")
                place += 2 if line[place] == '"' else 1
                text += line[place - 1]
            place += 1
        else:
            while place < len(line) and line[place] != delimiter:
                if line[place] == '"':
                    raise ValueError("a quote inside a field")
                text += line[place]
                place += 1
        fields.append(text)
        if place == len(line):
            return fields
        if line[place] != delimiter:
            raise ValueError("text behind a closing quote")
        place += 1


def encoded(
    splits: Mapping[str, Sequence[Triple]],
) -> tuple[list[str], list[str], dict[str, np.ndarray]]:
    """Labels of entities and relations by first appearance, head before tail, and the triples without duplicates."""
    entities: dict[str, int] = {}
    relations: dict[str, int] = {}
    triples: dict[str, list[tuple[int, int, int]]] = {}
    for split, read in splits.items():
        for head, relation, tail in read:
            row = (
                entities.setdefault(head, len(entities)),
                relations.setdefault(relation, len(relations)),
                entities.setdefault(tail, len(entities)),
            )
            if row not in triples.setdefault(split, []):
                triples[split].append(row)
    return list(entities), list(relations), {split: np.array(read) for split, read in triples.items()}


def ntriples(text: str) -> tuple[list[Triple], int]:
    """The triples without literals, and how many have one. `ValueError` with the number of the first wrong line."""
    found, literals, lines = [], 0, 0
    broken = ""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        rest = line.lstrip(" \t")
        if not rest or rest.startswith("#"):
            continue
        lines += 1
        terms = []
        for kinds in ("<_", "<", '<_"'):
            if not rest or rest[0] not in kinds:
                raise ValueError(f"{number}")
            term, rest = _ntriples_term(rest, number)
            terms.append(term)
            rest = rest.lstrip(" \t")
        if not rest.startswith(".") or rest[1:].lstrip(" \t")[:1] not in ("", "#"):
            raise ValueError(f"{number}")
        if any(set(term) & set("\0\ufffe") for term in terms):
            broken = broken or f"{number}"  # reported when all lines have the right form
        if terms[2].startswith('"'):
            literals += 1
        else:
            found.append(tuple(terms))
    if broken or not lines:
        raise ValueError(broken)
    return found, literals


def _ntriples_term(rest: str, number: int) -> tuple[str, str]:
    """One term and what follows it. An escape that stands for no character of an IRI becomes a zero."""
    if rest[0] == "<":
        end = rest.find(">")
        body = rest[1:end]
        if end < 2 or set(body) & set('<"{}|^` \t'):
            raise ValueError(f"{number}")
        return _ntriples_escapes(body, number), rest[end + 1 :]
    if rest[0] == "_":
        end = 2
        while end < len(rest) and (rest[end].isalnum() or rest[end] in "_-:."):
            end += 1
        while rest[end - 1] == ".":
            end -= 1
        if rest[1:2] != ":" or end == 2 or rest[2] == ".":
            raise ValueError(f"{number}")
        return rest[:end], rest[end:]
    end = 1
    while rest[end : end + 1] != '"':
        if end >= len(rest):
            raise ValueError(f"{number}")
        if rest[end] == "\\":
            width = {"u": 5, "U": 9}.get(rest[end + 1 : end + 2], 1)
            code = rest[end + 2 : end + 1 + width]
            right = (
                rest[end + 1 : end + 2] in tuple("tbnrf\"'\\")
                if width == 1
                else _hexadecimal(code, width - 1)
            )
            if not right:
                raise ValueError(f"{number}")
            end += width
        end += 1
    rest = rest[end + 1 :]
    if rest.startswith("@"):
        tag = re.match("@[a-zA-Z]+(-[a-zA-Z0-9]+)*", rest)
        if tag is None:
            raise ValueError(f"{number}")
        rest = rest[tag.end() :]
    elif rest.startswith("^^"):
        if rest[2:3] != "<":
            raise ValueError(f"{number}")
        _, rest = _ntriples_term(rest[2:], number)
    return '"', rest


def _hexadecimal(code: str, width: int) -> bool:
    return len(code) == width and all(digit in "0123456789abcdefABCDEF" for digit in code)


def _ntriples_escapes(body: str, number: int) -> str:
    text, place = "", 0
    while place < len(body):
        if body[place] != "\\":
            text, place = text + body[place], place + 1
            continue
        width = {"u": 4, "U": 8}.get(body[place + 1 : place + 2], 0)
        code = body[place + 2 : place + 2 + width]
        if not width or not _hexadecimal(code, width):
            raise ValueError(f"{number}")
        value = int(code, 16)
        bad = (
            value <= 32 or value == 127 or 0xD800 <= value < 0xE000 or value > 0x10FFFF or chr(value) in "<>"
        )
        text, place = text + ("\0" if bad else chr(value)), place + 2 + width
    return text
