"""Rules go out in every format and come back the same; other programs' files are read, and what is odd is named."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from corollary.errors import InputError, UnknownName
from corollary.graph.folder import Graph, write_graph
from corollary.rules.counting import count
from corollary.rules.files.reading import guess, read_rules
from corollary.rules.files.writing import FORMATS, write_rules
from corollary.rules.redundancy import is_own_head
from corollary.rules.rule import Rule, Rules, links_of
from corollary.runs.rules.kind import names_of

STEP = st.integers(0, 7)
CHAIN = st.tuples(st.integers(0, 3), st.lists(STEP, min_size=1, max_size=4).map(tuple))
CONSTANT = st.tuples(
    STEP,
    st.lists(STEP, min_size=1, max_size=3).map(tuple),
    st.integers(0, 5),
    st.sampled_from([-1, *range(6)]),
)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Six entities and four relations; two relations and an entity have names that Prolog and text put in quotes."""
    return names_of(graph_with(tmp_path_factory.mktemp("names"), ["r", "treats", "Binds-to", "it's"]))


def graph_with(folder, relations) -> Graph:
    triples = np.array([(0, 0, 1), (1, 1, 2), (2, 2, 3), (3, 3, 4), (4, 0, 5)])
    labels = ["e0", "e1", "Bob Smith", "e3", "e4", "e5"]
    if "Binds-to" in relations:
        labels[2] = "O'Hara"
    return write_graph(folder / "g", name="g", labels=labels, relations=relations, triples={"train": triples})


@settings(max_examples=60, deadline=None)
@given(rules=st.lists(CHAIN | CONSTANT, min_size=1, max_size=5), form=st.sampled_from(FORMATS))
def test_what_is_written_is_read_again(names, tmp_path_factory, rules, form):
    """Chains and rules with constants, through each format, whose name is found out again."""
    path = tmp_path_factory.mktemp("rules") / ("rules.pl" if form == "prolog" else "rules.txt")
    wanted = Rules.of([Rule(*parts) for parts in rules], 4).once()
    wanted = wanted.take(~is_own_head(wanted))
    assume(len(wanted))
    write_rules(path, wanted, names, form)
    found = read_rules(path, names)
    assert found.form == form
    assert list(found.rules) == list(wanted)
    assert not found.skipped


def test_text_with_blanks_and_brackets(tmp_path):
    """Names that need quotes survive text, JSON, TSV and Prolog; AnyBURL's file has no way to hold them."""
    names = names_of(graph_with(tmp_path, ["r", "has, a (b)", "c", 'q"x']))
    rules = Rules.of([Rule(0, (1, 7)), Rule(3, (5,), 2, 2)], 4)
    for form in ("text", "json", "tsv", "prolog"):
        path = tmp_path / f"rules.{'pl' if form == 'prolog' else form}"
        write_rules(path, rules, names, form)
        assert list(read_rules(path, names, form).rules) == list(rules)
    with pytest.raises(InputError, match="AnyBURL has no way to write 'has, a "):
        write_rules(tmp_path / "x", rules, names, "anyburl")


def test_figures_stand_beside_the_rules(names, tmp_path):
    """AnyBURL: predictions, support, confidence. AMIE: head coverage, standard and PCA confidence and their counts."""
    triples = np.array([[0, 0, 1], [2, 0, 3], [4, 0, 5], [4, 0, 1], [0, 1, 1], [2, 1, 3], [3, 1, 5]])
    rules = count(Rules.of([Rule(0, (1,))], 4), links_of(triples, 6, 4))
    write_rules(tmp_path / "a", rules, names, "anyburl")
    assert (tmp_path / "a").read_text() == "3\t2\t0.6666666667\tr(X,Y) <= treats(X,Y)\n"
    write_rules(tmp_path / "m", rules, names, "amie")
    assert (tmp_path / "m").read_text().splitlines()[1].split("\t") == [
        "?a  treats  ?b   => ?a  r  ?b", "0.5", "0.6666666667", "1", "2", "3", "2", "?a",
    ]  # fmt: skip
    write_rules(tmp_path / "p", rules, names, "prolog")
    assert (tmp_path / "p").read_text().splitlines()[1] == "r(X, Y) :- treats(X, Y). % 2, 3, 0.2500"


OTHERS = {
    "anyburl": "10\t5\t0.5\tr(X,Y) <= treats(X,A), r(Y,A)\n4\t2\t0.5\tr(e0,Y) <= treats(Y,e1)\n"
    "4\t2\t0.5\tr(X,Y) <= treats(X,A), r(B,A)\n9\t3\t0.3\tr(X,e1) <=\n",
    "amie": "Rule\tHead Coverage\n?g  treats  ?b  ?a  r  ?g   => ?a  r  ?b\t0.1\t0.2\n"
    "?a  treats  ?b  ?b  treats  ?a  ?a  r  ?b   => ?a  r  ?b\t0.1\t0.2\n",
    "prolog": "% two\n:- dynamic r/2.\nr(X, Y) :- treats(X, Z1), r(Y, Z1).\nr(X, X) :- treats(X, Y).\n",
}


@pytest.mark.parametrize(
    ("form", "rules", "skipped"),
    [
        ("anyburl", [Rule(0, (1, 4)), Rule(4, (1,), 0, 1)],
         {"a body that is no chain from the head's variables": 1, "no body": 1}),
        ("amie", [Rule(0, (0, 1))], {"a body that is no chain from the head's variables": 1}),
        ("prolog", [Rule(0, (1, 4))], {"one variable twice in the head": 1}),
    ],
)  # fmt: skip
def test_files_of_other_programs(names, tmp_path, form, rules, skipped):
    """Atoms in any order, constants on either side; what is neither chain nor constant is counted by its kind."""
    path = tmp_path / ("rules.pl" if form == "prolog" else "rules")
    path.write_text(OTHERS[form])
    found = read_rules(path, names)
    assert (found.form, list(found.rules), dict(found.skipped)) == (form, rules, skipped)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10\t5\t0.5\tr(X,Y) <= treatz(X,Y)\n", "rules:1: relation 'treatz' is not known. Did you mean 'treats'"),
        ("10\t5\t0.5\tr(X,zz) <= treats(X,e1)\n", "rules:1: entity 'zz' is not in this graph"),
        ("10\t5\t0.5\tr(X,Y) <= treats(X\n", r"rules:1: expected an atom such as p\(X,A\) at 'treats\(X'"),
        ("r(X, Y) :- treats(X, Y)\n", "rules:1: the sentence that begins here has no end"),
        ("r(X, Y) :- \\+ treats(X, Y.\n", "rules:1: expected '\\)' before the full stop"),
        ("r(X, Y) :- \\+ treats(X, Y)].\n", "rules:1: ']' closes no bracket"),
        ("r(X, Y) :- \\+ treats(X, Y)\nr(X, Y) :- treats(X, Y).\n", "rules:2: expected a full stop before ':-'"),
        ("?a  r\n", "rules:1: expected a rule such as"),
        ('{"head": 3}\n', "rules:1: expected an object with head and body"),
        ("hello\n", "rules:1: no known format of rules begins with 'hello': name it with --format"),
        ("", "rules is empty: expected rules"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(names, tmp_path, text, message):
    """File and line, and what to do."""
    (tmp_path / "rules").write_text(text)
    with pytest.raises((InputError, UnknownName), match=message):
        read_rules(tmp_path / "rules", names)


PROLOG_CONSTRUCTS = {
    "r(X, Y) :- treats(X, Y), \\+ r(Y, X).": "a negation",
    "r(X, Y) :- treats(X, Y), not(r(Y, X)).": "a negation",
    "r(X, Y) :- treats(X, Y) ; r(Y, X).": "an alternative (;)",
    "r(X, Y) :- treats(X, Y), !.": "a cut (!)",
    "r(X, Y) :- treats(X, Y), X \\= Y.": "a comparison",
    "r(X, Y) :- treats(X, Z), Y is Z + 1.": "a comparison",
    "r(X, Y) :- treats(X, [Y]).": "a list",
    "r(X, Y) :- treats(X, f(Y)).": "a term with arguments",
    "r(X, Y) :- (treats(X, Y), r(Y, X)).": "a group in brackets",
    "r(X, Y) :- person(X), treats(X, Y).": "an atom of 1 argument",
    "r(X, Y) :- treats(X, Y, Z).": "an atom of 3 arguments",
    "r(X, Y) :- r(X, Y).": "its own head as the body",
    "r(X, e1) :- r(X, e1).": "its own head as the body",
}


def test_what_prolog_says_besides_rules_is_counted(names, tmp_path):
    """One by one and all together, with the rules around them read."""
    path = tmp_path / "rules.pl"
    for text, kind in PROLOG_CONSTRUCTS.items():
        path.write_text(f"r(X, Y) :- treats(X, Y).\n{text}\n")
        found = read_rules(path, names)
        assert (list(found.rules), dict(found.skipped)) == ([Rule(0, (1,))], {kind: 1}), text
    path.write_text("\n".join(PROLOG_CONSTRUCTS) + "\nr(X, Y) :- treats(X, Y).\n")
    assert list(read_rules(path, names).rules) == [Rule(0, (1,))]
    assert read_rules(path, names).skipped.total() == len(PROLOG_CONSTRUCTS)


def test_the_ending_says_that_a_file_is_prolog(names, tmp_path):
    """Also where it holds nothing but a comment."""
    (tmp_path / "rules.pl").write_text("/* none\nyet */\n")
    assert guess(tmp_path / "rules.pl") == "prolog"
    with pytest.raises(InputError, match="rules.pl is empty: expected rules"):
        read_rules(tmp_path / "rules.pl", names)


def test_a_missing_file_is_named(names, tmp_path):
    with pytest.raises(InputError, match="nothing does not exist: name a file of rules"):
        read_rules(tmp_path / "nothing", names)


def test_single_letters_are_variables_in_anyburl(tmp_path):
    """So a constant of one letter has no way out."""
    triples = np.array([(0, 0, 1), (1, 0, 0)])
    graph = write_graph(
        tmp_path / "g", name="g", labels=["a", "b"], relations=["r"], triples={"train": triples}
    )
    with pytest.raises(InputError, match="AnyBURL has no way to write the constant 'a'"):
        write_rules(tmp_path / "x", Rules.of([Rule(0, (1,), 0, 1)], 1), names_of(graph), "anyburl")


def test_the_format_of_a_file_is_found_out(tmp_path):
    (tmp_path / "x").write_text("0.5  2/4  r(X, Y) <- q(X, Y)\n")
    assert guess(tmp_path / "x") == "text"
