"""Rules as atoms over names: what all formats have in common, and what can be made of it.

An atom is relation(subject, object); a term is a variable or a constant. Rules that are chains from X to Y, or that have
a constant in their head and a chain from its variable in their body, become `Rule`s. Others are counted by kind.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from corollary.errors import UnknownName, unknown
from corollary.graph.vocabulary import Vocabulary
from corollary.rules.rule import ANY, Rule, inverse

_VARIABLES = "XYABCDEFGHIJKLMNOPQRSTUVWZ"


@dataclass(frozen=True)
class Variable:
    """A variable by name."""

    name: str


Term = Variable | str
"""A variable, or the label of an entity."""


@dataclass(frozen=True)
class Atom:
    """relation(subject, object)."""

    relation: str
    subject: Term
    object: Term


@dataclass(frozen=True)
class Clause:
    """head <= body, with whatever numbers stood beside it."""

    head: Atom
    body: tuple[Atom, ...]
    numbers: dict[str, float] = field(default_factory=dict)
    where: str = ""
    """File and line."""


@dataclass(frozen=True)
class Unread:
    """A rule that is more than atoms of two arguments, by what it has besides."""

    kind: str


class Names:
    """The vocabulary of one graph, for reading and writing rules."""

    def __init__(self, entities: Vocabulary, relations: Sequence[str]) -> None:
        self.entities, self.relations = entities, relations
        self._known = {label: row for row, label in enumerate(relations)}

    @property
    def num_relations(self) -> int:
        return len(self.relations)

    def relation(self, name: str, where: str) -> int:
        """The id of a relation. Raises `UnknownName` with file, line and the nearest label."""
        if name not in self._known:
            raise UnknownName(unknown("relation", name, list(self._known), where=where))
        return self._known[name]

    def entity(self, label: str, where: str) -> int:
        rows = self.entities.labels.rows_of(label)
        if not rows:
            raise UnknownName(f"{where}: entity {label!r} is not in this graph")
        return rows[0]


def clause_of(rule: Rule, names: Names) -> Clause:
    """A rule with variables X, Y (the answer of a chain) and A, B, .. between."""
    count = names.num_relations
    letters = iter(_VARIABLES[2:])
    x, y = Variable("X"), Variable("Y")
    answer: Term = y if rule.is_chain else names.entities.label(rule.answer)
    at: Term = x
    body = []
    for place, step in enumerate(rule.body):
        last = place + 1 == len(rule.body)
        to: Term
        if last and rule.is_chain:
            to = y
        elif last and rule.end != ANY:
            to = names.entities.label(rule.end)
        else:
            to = Variable(next(letters))
        body.append(_atom(step, at, to, names, count))
        at = to
    return Clause(_atom(rule.head, x, answer, names, count), tuple(body))


def _atom(step: int, at: Term, to: Term, names: Names, count: int) -> Atom:
    label = names.relations[step % count]
    return Atom(label, at, to) if step < count else Atom(label, to, at)


def rule_of(clause: Clause, names: Names, skipped: Counter[str]) -> Rule | None:
    """The rule that a clause says, or None, with its kind counted in `skipped`.

    Raises `UnknownName` for a relation or a constant that the graph does not hold.
    """
    for atom in (clause.head, *clause.body):
        names.relation(atom.relation, clause.where)
    kind = _unsupported(clause)
    if kind is None:
        rule = _chain(clause, names) if _both_variable(clause.head) else _constant(clause, names)
        if rule is not None and not _is_own_head(rule):
            return rule
        kind = (
            "a body that is no chain from the head's variables"
            if rule is None
            else "its own head as the body"
        )
    skipped[kind] += 1
    return None


def _is_own_head(rule: Rule) -> bool:
    """Whether it says nothing: `r(X, Y) <= r(X, Y)`, or the same with a constant."""
    return rule.body == (rule.head,) and rule.answer == rule.end


def _unsupported(clause: Clause) -> str | None:
    head = clause.head
    if not clause.body:
        return "no body"
    if isinstance(head.subject, str) and isinstance(head.object, str):
        return "no variable in the head"
    if head.subject == head.object:
        return "one variable twice in the head"
    return None


def _both_variable(atom: Atom) -> bool:
    return isinstance(atom.subject, Variable) and isinstance(atom.object, Variable)


def _chain(clause: Clause, names: Names) -> Rule | None:
    head = clause.head
    found = _walk(clause.body, head.subject, names, clause.where)
    if found is None or found[1] != head.object:
        return None
    return Rule(names.relation(head.relation, clause.where), tuple(found[0]))


def _constant(clause: Clause, names: Names) -> Rule | None:
    head, count = clause.head, names.num_relations
    relation = names.relation(head.relation, clause.where)
    variable: Term
    if isinstance(head.subject, Variable):
        variable, constant, step = head.subject, head.object, relation
    else:
        variable, constant, step = head.object, head.subject, inverse(relation, count)
    found = _walk(clause.body, variable, names, clause.where)
    if found is None or not isinstance(constant, str) or found[1] == variable:
        return None
    end = names.entity(found[1], clause.where) if isinstance(found[1], str) else ANY
    return Rule(step, tuple(found[0]), names.entity(constant, clause.where), end)


def _walk(body: Sequence[Atom], start: Term, names: Names, where: str) -> tuple[list[int], Term] | None:
    """The steps of a body that is one chain from `start`, in whatever order its atoms stand, and where it ends."""
    count, left = names.num_relations, list(body)
    at: Term = start
    steps: list[int] = []
    seen = {start}
    while left:
        touching = [atom for atom in left if at in (atom.subject, atom.object)]
        if len(touching) != 1 or touching[0].subject == touching[0].object:
            return None
        atom = touching[0]
        left.remove(atom)
        relation = names.relation(atom.relation, where)
        forward = atom.subject == at
        steps.append(relation if forward else inverse(relation, count))
        at = atom.object if forward else atom.subject
        if at in seen or (isinstance(at, str) and left):
            return None
        seen.add(at)
    return steps, at
