"""A rule with its pairs, against every pair found by hand."""

import numpy as np
import pytest

from corollary.errors import InputError, UnknownName
from corollary.runs.explaining.rule_sheet import rule_sheet
from corollary.runs.rules.kind import load_rules
from corollary.runs.rules.showing import show_rules
from corollary.runs.run import Run

CHAIN = "spoken_language(X, Y) <- official_language(X, Y)"


def test_pairs_are_those_of_the_body(runs: list[Run]) -> None:
    """All, where it holds and where it fails: the pairs of the body's facts, in parts that add up to the counts."""
    run = runs[1]
    graph = run.graph
    train = np.asarray(graph.triples("train"))
    body = train[train[:, 1] == graph.relations.find("official_language")][:, [0, 2]]
    expected = {(int(x), int(y)) for x, y in body}

    def pairs(which: str) -> list[tuple[int, int]]:
        sheet = rule_sheet(run, CHAIN, which=which, limit=1000)
        assert not sheet.more
        return [(pair.head.id, pair.tail.id) for pair in sheet.pairs]

    assert sorted(pairs("all")) == sorted(expected)
    assert sorted(pairs("holds") + pairs("fails")) == sorted(expected)
    sheet = rule_sheet(run, CHAIN, limit=1000)
    assert sheet.train.n == len(expected)
    assert sheet.train.k == sum(pair.split == "train" for pair in sheet.pairs)
    for pair in sheet.pairs:
        assert [(f.head.id, f.tail.id) for way in pair.ways for f in way] == [(pair.head.id, pair.tail.id)]


def test_pages_of_pairs_join_to_the_whole(runs: list[Run]) -> None:
    """Offset and limit cut the same list."""
    whole = rule_sheet(runs[1], CHAIN, limit=40).pairs
    parts = [
        pair
        for offset in range(0, 40, 7)
        for pair in rule_sheet(runs[1], CHAIN, offset=offset, limit=7).pairs
    ]
    assert parts[:40] == whole


def test_rules_with_constants_have_sheets_too(runs: list[Run]) -> None:
    """Every rule that the run shows can be looked up by what is shown, and gives as many pairs as were counted."""
    rules = load_rules(runs[1].path)
    shown = show_rules(runs[1], limit=12)
    special = [text for text, rule in zip(shown.texts, shown.rules, strict=True) if not rule.is_chain]
    assert len(rules) > 0
    assert special
    for text in special:
        sheet = rule_sheet(runs[1], text, limit=2000)
        assert len(sheet.pairs) == sheet.train.n
        assert sheet.formula == text


def test_what_is_no_rule_of_the_run_is_named(runs: list[Run]) -> None:
    """No rule, a rule that it does not hold, an unknown relation, a run without rules."""
    with pytest.raises(InputError, match="expected a rule such as"):
        rule_sheet(runs[1], "nonsense")
    with pytest.raises(UnknownName, match="does not hold the rule"):
        rule_sheet(runs[1], "borders(X, Y) <- written_in(X, A), written_in(A, Y)")
    with pytest.raises(UnknownName, match="bordrs"):
        rule_sheet(runs[1], "bordrs(X, Y) <- borders(Y, X)")
    with pytest.raises(InputError, match="no counted rules"):
        rule_sheet(runs[0], CHAIN)
