"""Rules written: for people, and in the formats of other programs.

AnyBURL and PyClause: predictions, support, confidence, `head(X,Y) <= b(X,A), c(A,Y)`. AMIE: its own table, whose PCA
figures are PCA counts, not plain ones. Prolog: clauses with the counts in a comment. Rules that nobody counted get
zeros.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from corollary.errors import InputError
from corollary.rules.counting import interval
from corollary.rules.files.atoms import Atom, Clause, Names, Term, Variable, clause_of
from corollary.rules.rule import Rules, back_and_forth
from corollary.storage import new_file

Format = Literal["text", "json", "tsv", "anyburl", "amie", "prolog"]
FORMATS: tuple[Format, ...] = get_args(Format)
TSV_COLUMNS = (
    "rule", "support", "pairs", "pca_pairs", "head_size", "laplace", "standard", "pca", "head_coverage",
    "heldout_support", "heldout", "sampled", "low", "high", "weight", "turns_back",
)  # fmt: skip
_PLAIN = re.compile(r"[^\s(),\"<]+")
_LOWER = re.compile(r"[a-z][A-Za-z0-9_]*")


def write_rules(path: Path, rules: Rules, names: Names, form: Format) -> None:
    """Write all rules, in their order. Raises `InputError` for a name that the format has no way to write."""
    with new_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for line in lines_of(rules, names, form):
            file.write(line + "\n")


def lines_of(rules: Rules, names: Names, form: Format) -> Iterator[str]:
    """The lines of a file."""
    if form == "tsv":
        yield "\t".join(TSV_COLUMNS)
    if form == "amie":
        yield "\t".join(
            ("Rule", "Head Coverage", "Std Confidence", "PCA Confidence", "Positive Examples", "Body size",
             "PCA Body size", "Functional variable")
        )  # fmt: skip
    if form == "prolog":
        yield "% support, pairs, laplace confidence"
    figures = figures_of(rules)
    show: Callable[[Clause, dict[str, Any]], str] = _SHOWN[form]
    for row, rule in enumerate(rules):
        yield show(clause_of(rule, names), {name: values[row] for name, values in figures.items()})


def figures_of(rules: Rules) -> dict[str, np.ndarray]:
    """All figures of every rule by name; NaN or -1 where nobody has made them. turns_back: 1 for a body that goes over a
    relation and at once back, which plain walks can undo; low and high: the interval of the standard confidence, where
    starts were drawn."""
    low, high = interval(np.maximum(rules.support, 0), np.maximum(rules.pairs, 0))
    return {
        "support": rules.support,
        "pairs": rules.pairs,
        "pca_pairs": rules.pca_pairs,
        "head_size": rules.head_size,
        "laplace": rules.confidence("laplace"),
        "standard": rules.confidence("standard"),
        "pca": rules.confidence("pca"),
        "head_coverage": rules.head_coverage,
        "heldout_support": rules.heldout_support,
        "heldout": rules.confidence("heldout"),
        "sampled": rules.sampled,
        "low": np.where(rules.sampled < 1, low, np.nan),
        "high": np.where(rules.sampled < 1, high, np.nan),
        "weight": rules.weights,
        "turns_back": back_and_forth(rules.bodies, rules.num_relations).astype(np.int64),
    }


def text_of(clause: Clause) -> str:
    """`treats(X, Y) <- binds(X, A), causes(A, Y)`; names with blanks, commas, brackets or quotes stand in quotes."""
    body = ", ".join(_text_atom(atom) for atom in clause.body)
    return f"{_text_atom(clause.head)} <- {body}"


def _text_atom(atom: Atom) -> str:
    return f"{_quoted(atom.relation)}({_text_term(atom.subject)}, {_text_term(atom.object)})"


def _text_term(term: Term) -> str:
    if isinstance(term, Variable):
        return term.name
    return json.dumps(term, ensure_ascii=False) if re.fullmatch("[A-Z]", term) else _quoted(term)


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _text(clause: Clause, figures: dict[str, Any]) -> str:
    confidence = "-" if np.isnan(figures["laplace"]) else f"{figures['laplace']:.4f}"
    about = "~" if figures["sampled"] < 1 else ""
    return f"{about}{confidence}  {figures['support']}/{figures['pairs']}  {text_of(clause)}"


def _json(clause: Clause, figures: dict[str, Any]) -> str:
    numbers = {
        name: value.item() for name, value in figures.items() if not np.isnan(value) and value.item() != -1
    }
    atoms = [_json_atom(atom) for atom in (clause.head, *clause.body)]
    return json.dumps({"head": atoms[0], "body": atoms[1:], **numbers}, ensure_ascii=False)


def _json_atom(atom: Atom) -> dict[str, Any]:
    return {
        "relation": atom.relation,
        **{
            side: {"variable": term.name} if isinstance(term, Variable) else {"entity": term}
            for side, term in (("subject", atom.subject), ("object", atom.object))
        },
    }


def _tsv(clause: Clause, figures: dict[str, Any]) -> str:
    shown = [text_of(clause)]
    for name in TSV_COLUMNS[1:]:
        value = figures[name]
        shown.append("" if np.isnan(value) or value == -1 else repr(value.item()))
    return "\t".join(shown)


def _anyburl(clause: Clause, figures: dict[str, Any]) -> str:
    confidence = 0.0 if np.isnan(figures["standard"]) else figures["standard"]
    atoms = [_anyburl_atom(atom) for atom in (clause.head, *clause.body)]
    return f"{max(0, figures['pairs'])}\t{max(0, figures['support'])}\t{confidence:.10g}\t{atoms[0]} <= {', '.join(atoms[1:])}"


def _anyburl_atom(atom: Atom) -> str:
    return f"{_bare(atom.relation)}({_anyburl_term(atom.subject)},{_anyburl_term(atom.object)})"


def _anyburl_term(term: Term) -> str:
    if isinstance(term, Variable):
        return term.name
    if len(term) < 2:
        raise InputError(
            f"AnyBURL has no way to write the constant {term!r}: single letters are variables there"
        )
    return _bare(term)


def _bare(name: str) -> str:
    if re.search(r"[\s(),]", name):
        raise InputError(
            f"AnyBURL has no way to write {name!r}: a name holds no blank, comma or bracket there"
        )
    return name


def _amie(clause: Clause, figures: dict[str, Any]) -> str:
    letters: dict[str, str] = {}
    head = _amie_atom(clause.head, letters)
    body = "  ".join(_amie_atom(atom, letters) for atom in clause.body)
    numbers = [
        f"{0.0 if np.isnan(figures[name]) else figures[name]:.10g}"
        for name in ("head_coverage", "standard", "pca")
    ]
    counts = [str(max(0, figures[name])) for name in ("support", "pairs", "pca_pairs")]
    return "\t".join([f"{body}   => {head}", *numbers, *counts, "?a"])


def _amie_atom(atom: Atom, letters: dict[str, str]) -> str:
    shown = []
    for term in (atom.subject, atom.relation, atom.object):
        if isinstance(term, Variable):
            shown.append("?" + letters.setdefault(term.name, "abcdefghijklmnopqrstuvwxyz"[len(letters)]))
        else:
            if re.search(r"\s\s|\t|=>", term) or term.startswith("?"):
                raise InputError(
                    f"AMIE has no way to write {term!r}: a name holds no two blanks, tab or => there"
                )
            shown.append(term)
    return "  ".join(shown)


def _prolog(clause: Clause, figures: dict[str, Any]) -> str:
    atoms = [_prolog_atom(atom) for atom in (clause.head, *clause.body)]
    confidence = (
        ""
        if np.isnan(figures["laplace"])
        else f" % {figures['support']}, {figures['pairs']}, {figures['laplace']:.4f}"
    )
    return f"{atoms[0]} :- {', '.join(atoms[1:])}.{confidence}"


def _prolog_atom(atom: Atom) -> str:
    return f"{prolog_name(atom.relation)}({_prolog_term(atom.subject)}, {_prolog_term(atom.object)})"


def _prolog_term(term: Term) -> str:
    return term.name if isinstance(term, Variable) else prolog_name(term)


def prolog_name(name: str) -> str:
    """An atom: in quotes unless it is a word that begins with a small letter."""
    if _LOWER.fullmatch(name):
        return name
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHOWN: dict[Format, Callable[[Clause, dict[str, Any]], str]] = {
    "text": _text, "json": _json, "tsv": _tsv, "anyburl": _anyburl, "amie": _amie, "prolog": _prolog,
}  # fmt: skip
