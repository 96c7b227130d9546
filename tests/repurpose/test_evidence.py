"""Evidence never walks over the pair itself; nearest answers are those that count most; deleting a path tells."""

from dataclasses import replace

import numpy as np
import pytest

from corollary.graph.folder import Graph, derive_graph
from corollary.repurpose.config import BaselineConfig
from corollary.repurpose.cutting import everything
from corollary.repurpose.evidence import Witness
from corollary.repurpose.faithfulness import Deletion, summary
from corollary.repurpose.features import Features
from corollary.repurpose.learned import seen
from corollary.repurpose.pairs import Fold, Pairs, read_pairs
from corollary.repurpose.rule_evidence import rule_evidence
from corollary.repurpose.untrained import Untrained
from corollary.rules.mining import Mining
from corollary.runs.rules.kind import mine_rules
from corollary.runs.rules.options import RulesOptions
from tests.reference.pair_paths import all_paths


@pytest.fixture(scope="module")
def pairs(countries: Graph) -> Pairs:
    """Languages for every country."""
    return read_pairs(countries, "spoken_language", side="tail")


@pytest.fixture(scope="module")
def fold(pairs: Pairs) -> Fold:
    """Every other known pair is hidden."""
    return replace(everything(pairs), hidden=np.arange(len(pairs.known)) % 2 > 0)


@pytest.fixture(scope="module")
def witness(countries: Graph, pairs: Pairs, fold: Fold) -> Witness:
    return Witness.of(countries, pairs, fold, Untrained.of(countries, pairs), longest=2)


def place(pairs: Pairs, row: str, column: str) -> tuple[int, int]:
    return pairs.rows.names.index(row), pairs.columns.names.index(column)


def test_paths_are_the_heaviest_of_all_that_there_are(countries, pairs, fold, witness):
    """Against a list of all simple paths of two steps, for one pair; every fact is one that may be walked."""
    row, column = place(pairs, "Kenya", "English")
    triples = seen(countries, pairs, fold.hidden)
    ends = int(pairs.columns.entities[column]), int(pairs.rows.entities[row])
    slow = all_paths([tuple(t) for t in triples.tolist()], countries.num_relations, *ends, 2, 0.4)
    found = witness.evidence(row, column)
    assert found.total_paths == len(slow) > len(found.paths) == 5
    assert [path.weight for path in found.paths] == pytest.approx(sorted(slow.values())[:-6:-1], rel=1e-12)
    labels = {
        (countries.entities.label(h), countries.relations.label(r), countries.entities.label(t))
        for h, r, t in triples.tolist()
    }
    for path in found.paths:
        assert set(path.facts) <= labels
        assert (path.nodes[0].name, path.nodes[-1].name) == ("English", "Kenya")
        assert path.text.startswith("English ")
        assert path.text.endswith(" Kenya")


def test_the_nearest_known_answers_share_most_with_the_pair(pairs, witness):
    """One is a visible answer of the row, the other a row that the column visibly answers; neither is the pair itself."""
    visible = {tuple(pair) for pair in witness.visible.tolist()}
    row, column = next(
        p for p in pairs.known.tolist() if tuple(p) not in visible and (witness.visible[:, 0] == p[0]).any()
    )
    found = witness.evidence(row, column)
    for nearest, same in ((found.similar_column, "row"), (found.similar_row, "column")):
        if nearest is not None:
            assert place(pairs, nearest.row, nearest.column) in visible
            assert (
                getattr(nearest, same)
                == (pairs.rows if same == "row" else pairs.columns).names[row if same == "row" else column]
            )
            assert nearest.likeness > 0
    assert found.similar_column is not None


def test_a_row_without_answers_has_no_similar_column(countries, pairs):
    """Nothing is visible, so nothing is near."""
    nothing = replace(everything(pairs), hidden=np.ones(len(pairs.known), bool))
    witness = Witness.of(countries, pairs, nothing, Untrained.of(countries, pairs), longest=2)
    found = witness.evidence(0, 0)
    assert (found.similar_column, found.similar_row) == (None, None)


def test_steps_without_triples_are_those_of_a_graph_without_them(countries, pairs, tmp_path):
    """The same untrained scores, to float32: in memory, and from a graph that never had them."""
    triples = np.asarray(countries.triples("train"))
    gone = triples[np.random.default_rng(0).permutation(len(triples))[:40]]
    kept = ~(triples[:, None] == gone[None]).all(2).any(1)
    splits = {s: np.asarray(countries.triples(s)) for s in ("valid", "test")}
    smaller = derive_graph(countries, tmp_path / "smaller", triples={"train": triples[kept], **splits})
    rows = np.arange(20)
    whole = Untrained.of(countries, pairs)
    without = Untrained.over(whole.steps.without(countries, gone))
    expected = Untrained.of(smaller, pairs).scores(pairs.known, rows)
    for name, scores in without.scores(pairs.known, rows).items():
        assert scores == pytest.approx(expected[name], rel=1e-5, abs=1e-6)


def test_deleting_the_path_that_a_score_is_made_of_lowers_it(countries, pairs, fold, witness):
    """A score made of countries of one calling zone loses the path over it; before it is that of the features as ever."""
    features = Features(witness.untrained, witness.untrained)
    at = features.names.index("similar rows calling_zone")
    deletion = Deletion(witness, ((features, lambda found: 9 * found[:, at] - 5),), BaselineConfig())
    longer = Witness.of(countries, pairs, fold, witness.untrained, shown=50)
    row, column, path = next(
        (row, column, path)
        for row, column in pairs.known[1::2].tolist()
        for path in longer.evidence(row, column).paths
        if path.pattern == "spoken_language < · calling_zone · calling_zone <"
    )
    found = deletion.of(row, column, path)
    assert found.removed == path.facts
    assert found.without < found.before
    assert found.fall > 0
    (made,) = features.of_rows(witness.visible, np.array([row]))
    log_odds = 9 * made.of(np.array([column]))[0, at] - 5
    assert found.before == pytest.approx(1 / (1 + np.exp(-log_odds)), rel=1e-5)
    every = summary([found])
    assert every is not None
    assert (every.pairs, every.fell) == (1, 1)
    assert summary([]) is None


def test_a_known_pair_on_the_path_is_no_longer_known(pairs, witness):
    """A path over another answer of the relation: without it the column has one known row fewer."""
    features = Features(witness.untrained, witness.untrained)
    at = features.names.index("known of column")
    deletion = Deletion(witness, ((features, lambda found: found[:, at] / 100),), BaselineConfig())
    row, column = place(pairs, "Kenya", "English")
    path = next(
        p for p in witness.evidence(row, column).paths if "spoken_language" in p.pattern.split(" ")[0]
    )
    assert deletion.of(row, column, path).without < deletion.of(row, column, path).before


def test_rules_that_derive_a_pair_are_its_evidence(countries, pairs, witness, tmp_path):
    """Each is right as often as its run counted; the surest first; pairs come from the rows that were asked about."""
    options = RulesOptions(mining=Mining(longest=2, min_support=5, chains_per_head=50))
    run = mine_rules(countries, tmp_path / "rules", options)
    rows = np.arange(60)
    found = rule_evidence([run], countries, pairs, witness.links, rows, most=3)
    assert found
    for (row, column), rules in found.items():
        assert row < 60
        assert column < len(pairs.columns)
        assert 1 <= len(rules) <= 3
        shares = [rule.right / rule.of for rule in rules]
        assert shares == sorted(shares, reverse=True)
        assert all(rule.sentence.startswith("if ") for rule in rules)
