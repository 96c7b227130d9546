"""Rules read: the formats that `writing` writes, as other programs write them.

Rules that are neither chains nor rules with a constant in the head are counted by kind. Counts in a file are those of
the graph it was made on: what is read here is counted again on the graph at hand.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corollary.errors import InputError
from corollary.graph.reading.prolog import Call, sentences
from corollary.rules.files.atoms import Atom, Clause, Names, Term, Unread, Variable, rule_of
from corollary.rules.files.writing import TSV_COLUMNS, Format
from corollary.rules.rule import Rule, Rules

_TEXT_ATOM = re.compile(
    r'\s*(?P<relation>"(?:[^"\\]|\\.)*"|[^\s(),"<]+)\(\s*(?P<subject>"(?:[^"\\]|\\.)*"|[^\s(),"<]+)\s*,'
    r'\s*(?P<object>"(?:[^"\\]|\\.)*"|[^\s(),"<]+)\s*\)\s*'
)
_ANYBURL_ATOM = re.compile(r"\s*(?P<relation>[^()\s,]+)\((?P<subject>[^(),]+),(?P<object>[^(),]+)\)\s*")


@dataclass(frozen=True)
class ReadRules:
    """What a file holds."""

    rules: Rules
    """Each once, uncounted."""
    num_read: int
    skipped: Counter[str]
    """Rules of other kinds, by kind."""
    form: Format


def read_rules(path: Path, names: Names, form: Format | None = None) -> ReadRules:
    """The rules of a file.

    Args:
        form: found out from the first line that says something when not given.

    Raises `InputError` with file and line for what is no rule, `UnknownName` for a relation or constant that the graph
    does not hold.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: name a file of rules")
    form = form or guess(path)
    skipped: Counter[str] = Counter()
    found, number = [], 0
    for clause in _READERS[form](path):
        number += 1
        if isinstance(clause, Unread):
            skipped[clause.kind] += 1
        elif (rule := rule_of(clause, names, skipped)) is not None:
            found.append(rule)
    if not number:
        raise InputError(f"{path} is empty: expected rules")
    return ReadRules(Rules.of(found, names.num_relations).once() if found else Rules.of([], names.num_relations),
                     number, skipped, form)  # fmt: skip


def rule_from_text(text: str, names: Names) -> Rule:
    """One rule as `rules show` prints it. Raises `InputError`, or `UnknownName` for what the graph does not hold."""
    skipped: Counter[str] = Counter()
    rule = rule_of(_text_clause(text, "the rule"), names, skipped)
    if rule is None:
        raise InputError(f"{text!r} is {next(iter(skipped))}, which cannot be counted")
    return rule


def guess(path: Path) -> Format:
    """The format of a file by the ending of its name or its first line. Raises `InputError` where no format begins so."""
    if path.suffix == ".pl":
        return "prolog"
    for number, line in _lines(path):
        if ":-" in line or line.startswith("%"):
            return "prolog"
        if line.startswith("{"):
            return "json"
        if line.startswith("Rule\t") or re.match(r"\?\w+  \S", line):
            return "amie"
        if line.split("\t")[0] == "rule":
            return "tsv"
        if re.match(r"\d+\t\d+\t[\d.eE+-]+\t", line):
            return "anyburl"
        if " <- " in line:
            return "text"
        raise InputError(
            f"{path}:{number}: no known format of rules begins with {line[:60]!r}: name it with --format"
        )
    raise InputError(f"{path} is empty: expected rules")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8") from None


def _text(path: Path) -> Iterator[Clause]:
    for number, line in _lines(path):
        if not line.startswith("#"):
            yield _text_clause(re.sub(r"^\s*~?[-\d.]+\s+\S+\s+", "", line), f"{path}:{number}")


def _text_clause(text: str, where: str) -> Clause:
    head, arrow, body = text.partition(" <- ")
    if not arrow:
        raise InputError(f"{where}: expected a rule such as r(X, Y) <- p(X, A), q(A, Y), found {text!r}")
    atoms = [_one_atom(head, _TEXT_ATOM, where), *_atoms(body, _TEXT_ATOM, where)]
    return Clause(atoms[0], tuple(atoms[1:]), where=where)


def _tsv(path: Path) -> Iterator[Clause]:
    for number, line in _lines(path):
        if number == 1 and line.split("\t")[0] == TSV_COLUMNS[0]:
            continue
        yield _text_clause(line.split("\t")[0], f"{path}:{number}")


def _anyburl(path: Path) -> Iterator[Clause]:
    for number, line in _lines(path):
        where = f"{path}:{number}"
        text = line.split("\t")[-1]
        head, arrow, body = text.partition(" <=")
        if not arrow:
            raise InputError(f"{where}: expected head(X,Y) <= b1(X,A), b2(A,Y), found {text!r}")
        atoms = [_one_atom(head, _ANYBURL_ATOM, where), *_atoms(body, _ANYBURL_ATOM, where)]
        yield Clause(atoms[0], tuple(atoms[1:]), where=where)


def _one_atom(text: str, pattern: re.Pattern[str], where: str) -> Atom:
    atoms = _atoms(text, pattern, where)
    if len(atoms) != 1:
        raise InputError(f"{where}: expected one atom as the head, found {text!r}")
    return atoms[0]


def _atoms(text: str, pattern: re.Pattern[str], where: str) -> list[Atom]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = pattern.match(text, at)
        if match is None:
            raise InputError(f"{where}: expected an atom such as p(X,A) at {text[at:].strip()!r}")
        found.append(Atom(_name(match["relation"]), _term(match["subject"]), _term(match["object"])))
        at = match.end()
        if at < len(text) and text[at] == ",":
            at += 1
    return found


def _name(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


def _term(text: str) -> Term:
    text = text.strip()
    return Variable(text) if re.fullmatch("[A-Z]", text) else _name(text)


def _amie(path: Path) -> Iterator[Clause]:
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if line.startswith("Rule\t"):
            continue
        body, arrow, head = line.split("\t")[0].partition("=>")
        if not arrow:
            raise InputError(
                f"{where}: expected a rule such as ?a  p  ?b   => ?a  r  ?b, found {line[:80]!r}"
            )
        atoms = [*_amie_atoms(head, where), *_amie_atoms(body, where)]
        yield Clause(atoms[0], tuple(atoms[1:]), where=where)


def _amie_atoms(text: str, where: str) -> list[Atom]:
    parts = [part.strip() for part in re.split(r"\s{2,}", text.strip()) if part.strip()]
    if not parts or len(parts) % 3:
        raise InputError(
            f"{where}: expected subject, relation, object with two blanks between, found {text!r}"
        )
    terms = [Variable(part[1:].upper()) if part.startswith("?") else part for part in parts]
    atoms = []
    for at in range(0, len(terms), 3):
        subject, relation, target = terms[at : at + 3]
        if isinstance(relation, Variable):
            raise InputError(f"{where}: {text!r} has a variable in place of a relation")
        atoms.append(Atom(relation, subject, target))
    return atoms


def _json(path: Path) -> Iterator[Clause]:
    for number, line in _lines(path):
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
            atoms = [_json_atom(value["head"]), *(_json_atom(atom) for atom in value["body"])]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{where}: expected an object with head and body, found {line[:80]!r}") from None
        yield Clause(atoms[0], tuple(atoms[1:]), where=where)


def _json_atom(value: Any) -> Atom:
    terms = [
        Variable(str(term["variable"])) if "variable" in term else str(term["entity"])
        for term in (value["subject"], value["object"])
    ]
    return Atom(str(value["relation"]), terms[0], terms[1])


def _prolog(path: Path) -> Iterator[Clause | Unread]:
    for sentence in sentences(path):
        calls = (sentence.head, *sentence.body)
        odd = next((len(call.arguments) for call in calls if len(call.arguments) != 2), None)
        if sentence.passed_over is not None:
            yield Unread(sentence.passed_over)
        elif odd is not None:
            yield Unread(f"an atom of {odd} argument{'' if odd == 1 else 's'}")
        else:
            atoms = [_prolog_atom(call) for call in calls]
            yield Clause(atoms[0], tuple(atoms[1:]), where=f"{path}:{sentence.line}")


def _prolog_atom(call: Call) -> Atom:
    subject, target = (Variable(term.text) if term.variable else term.text for term in call.arguments)
    return Atom(call.name, subject, target)


_READERS: dict[Format, Callable[[Path], Iterator[Clause | Unread]]] = {
    "text": _text, "json": _json, "tsv": _tsv, "anyburl": _anyburl, "amie": _amie, "prolog": _prolog,
}  # fmt: skip
