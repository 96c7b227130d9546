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
        fields = quoted_fields(line, delimiter) if quotes else line.split(delimiter)
        if header:
            header = False
            continue
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
