"""Prolog facts as a graph: comments, directives, quotes; other arities are counted and named."""

import numpy as np
import pytest

from corollary.errors import InputError
from corollary.graph.importing import ImportConfig, import_graph
from corollary.graph.reading.prolog import sentences

TEXT = """% the family
:- discontiguous parent/2.
parent(tom, 'Bob Smith'). parent('Bob Smith', ann).
person(tom). /* more
lines */ between(a, b, c).
nick('O''Hara', "it\\"s").
size(tom, -3.5).
"""


def test_facts_of_two_arguments_become_triples(tmp_path):
    """The rest is said and kept in graph.json, by name and arity."""
    (tmp_path / "facts.pl").write_text(TEXT)
    (tmp_path / "train.pl").write_text("grandparent(tom, ann).\n")
    said: list[str] = []
    graph = import_graph(tmp_path / "g", ImportConfig(files=(tmp_path,)), say=said.append)
    labels, relations = list(graph.entities.labels), list(graph.relations.labels)
    found = [(labels[h], relations[r], labels[t]) for h, r, t in np.asarray(graph.triples("train")).tolist()]
    assert found == [
        ("tom", "parent", "Bob Smith"), ("Bob Smith", "parent", "ann"), ("O'Hara", "nick", 'it"s'),
        ("tom", "size", "-3.5"), ("tom", "grandparent", "ann"),
    ]  # fmt: skip
    assert graph.info.notes["prolog_left_out"] == {"person/1": 1, "between/3": 1}
    assert any("left out 1 of person/1, which is no fact of two arguments" in line for line in said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p(a, b).\np(a, b", "facts.pl:2: the sentence that begins here has no end"),
        ("p(a, b)\nq(c, d).", "facts.pl:2: expected a full stop before 'q'"),
        ("p(a, 'b).", "facts.pl:1: a quote is not closed"),
        ("/* p(a, b).", "facts.pl:1: a comment is not closed"),
        ("p(a, (b)).", r"facts.pl:1: expected a name, found '\('"),
        ("P(a, b).", "facts.pl:1: expected the name of a predicate, found 'P'"),
        ("p(a, b c).", "facts.pl:1: expected a closing bracket before 'c'"),
        (
            "father(a, b) :- mother(a, b).",
            r"facts.pl holds no fact of two arguments .*, only rules \(1\): a graph",
        ),
        ("% none", r"facts.pl holds no fact of two arguments such as parent\(tom, bob\): a graph"),
        ("p(a, X).", "facts.pl:1: a fact holds no variable, and p has one"),
    ],
)
def test_what_is_no_prolog_is_named(tmp_path, text, message):
    """With file and line."""
    (tmp_path / "facts.pl").write_text(text)
    with pytest.raises(InputError, match=message):
        import_graph(tmp_path / "g", ImportConfig(files=(tmp_path / "facts.pl",)))


def test_a_rule_has_its_body(tmp_path):
    (tmp_path / "r.pl").write_text("r(X, Y) :- p(X, Z), q(Z, 'a b').\n")
    (found,) = sentences(tmp_path / "r.pl")
    assert (found.head.name, [call.name for call in found.body]) == ("r", ["p", "q"])
    assert [term.variable for term in found.body[1].arguments] == [True, False]


def test_rules_between_facts_are_left_out(tmp_path):
    """Whatever their bodies hold."""
    (tmp_path / "facts.pl").write_text(
        "p(a, b).\nq(X, Y) :- p(X, Y), \\+ p(Y, X).\nq(X, Y) :- p(X, Y).\np(b, c).\n"
    )
    graph = import_graph(tmp_path / "g", ImportConfig(files=(tmp_path / "facts.pl",)))
    assert graph.info.num_triples["train"] == 2
    assert graph.info.notes["prolog_left_out"] == {"rules": 2}


def test_facts_without_questions_are_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "facts.pl").write_text("p(a, b).\n")
    with pytest.raises(
        InputError, match=r"in holds facts.pl and no train.pl: put the facts that are asked for into"
    ):
        import_graph(tmp_path / "g", ImportConfig(files=(tmp_path / "in",)))
