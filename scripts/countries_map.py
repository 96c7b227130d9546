"""What Natural Earth's maps say about the countries: land borders, coasts, sovereign states."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from countries_sources import Fact, Node, Sources, country

Point = tuple[float, float]


@dataclass(frozen=True)
class Atlas:
    """What Natural Earth's 1:10m map says about the countries, once its areas are given to them."""

    borders: set[tuple[str, str]]
    """Pairs in alphabetical order."""
    coastal: set[str]
    drawn: set[str]
    drawn_inside: dict[str, str]
    """Country without an area of its own -> owner of the area that holds one of its cities."""


def read_atlas(sources: Sources) -> Atlas:
    """Two countries that share an arc share a border; an arc on the outer ring of the land is coast.

    An inner ring of the land is the Caspian Sea, which does not count as coast.
    """
    topology = json.loads(sources.read("world-atlas-2", "countries-10m.json"))
    by_number = {f"{sources.geonames[code]['isonumeric']:03d}": code for code in sources.countries}
    owners: list[str] = []
    polygons: list[list[list[int]]] = []
    for area in topology["objects"]["countries"]["geometries"]:
        name = area["properties"]["name"]
        owner = "XK" if name == "Kosovo" else by_number.get(area.get("id"), name)
        for polygon in _polygons(area):
            owners.append(owner)
            polygons.append(polygon)

    drawn_inside: dict[str, str] = {}
    drawn = set(owners)
    rings = [[_points(topology, arcs) for arcs in polygon] for polygon in polygons]
    for code in sorted(sources.countries.keys() - drawn):
        places = [(city["longitude"], city["latitude"]) for city in sources.cities.get(code, [])]
        # A harbour may lie just off the drawn coast.
        tries = (look(rings, *place) for look in (_polygon_around, _nearest) for place in places)
        index = next((index for index in tries if index is not None), None)
        if index is not None:
            drawn_inside[code] = owners[index]
            owners[index] = code

    users: dict[int, set[str]] = defaultdict(set)
    for owner, polygon in zip(owners, polygons, strict=True):
        for ring in polygon:
            for arc in ring:
                users[_arc(arc)].add(owner)
    land = [polygon for part in topology["objects"]["land"]["geometries"] for polygon in _polygons(part)]
    inland_seas = [[_points(topology, ring)] for polygon in land for ring in polygon[1:]]
    coast = {
        _arc(arc)
        for polygon in land
        if _polygon_around(inland_seas, *_points(topology, polygon[0])[0]) is None  # islands in the Caspian
        for arc in polygon[0]
    }
    touching = {(a, b) for names in users.values() for a in names for b in names if a < b}
    return Atlas(
        borders=touching,
        coastal={owner for arc in coast for owner in users[arc]} & sources.countries.keys(),
        drawn=set(owners) & sources.countries.keys(),
        drawn_inside=drawn_inside,
    )


def _arc(index: int) -> int:
    """TopoJSON writes an arc that is walked backwards as the complement of its index."""
    return index if index >= 0 else ~index


def _polygons(geometry: dict[str, Any]) -> list[list[list[int]]]:
    return [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry.get("arcs", [])


def _points(topology: dict[str, Any], ring: list[int]) -> list[Point]:
    """Longitude and latitude along one ring."""
    scale_x, scale_y = topology["transform"]["scale"]
    shift_x, shift_y = topology["transform"]["translate"]
    points: list[Point] = []
    for index in ring:
        x = y = 0
        line = []
        for step_x, step_y in topology["arcs"][_arc(index)]:
            x, y = x + step_x, y + step_y
            line.append((x * scale_x + shift_x, y * scale_y + shift_y))
        points.extend(line if index >= 0 else reversed(line))
    return points


def _polygon_around(polygons: list[list[list[Point]]], x: float, y: float) -> int | None:
    """Which polygon holds the point: an odd number of ring crossings to its east."""
    for index, rings in enumerate(polygons):
        inside = False
        for ring in rings:
            for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1], strict=True):
                if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                    inside = not inside
        if inside:
            return index
    return None


def _nearest(polygons: list[list[list[Point]]], x: float, y: float) -> int | None:
    """Which polygon has the corner nearest to the point, if that is within a tenth of a degree."""
    distance, index = min(
        ((corner_x - x) ** 2 + (corner_y - y) ** 2, index)
        for index, rings in enumerate(polygons)
        for corner_x, corner_y in rings[0]
    )
    return index if distance <= 0.1**2 else None


def borders(sources: Sources, atlas: Atlas) -> Iterator[Fact]:
    """Natural Earth's borders, both directions; GeoNames decides across an area that is no country."""
    codes = sources.countries.keys()
    mapped = {pair for pair in atlas.borders if codes >= set(pair)}
    listed = {
        (min(a, b), max(a, b))
        for a in codes
        for b in sources.geonames[a]["neighbours"].split(",")
        if b in codes
    }
    beside: dict[str, set[str]] = defaultdict(set)  # area that is no country -> countries beside it
    for a, b in atlas.borders:
        for area, other in ((a, b), (b, a)):
            if area not in codes and other in codes:
                beside[area].add(other)
    across = {pair for pair in listed - mapped if any(set(pair) <= around for around in beside.values())}
    print("borders that Natural Earth draws and GeoNames does not list (stored):", sorted(mapped - listed))
    print("borders that GeoNames lists across an area that is no country (stored):", sorted(across))
    print("borders that GeoNames alone lists (left out):", sorted(listed - mapped - across))
    for a, b in mapped | across:
        yield country(a), "borders", country(b)
        yield country(b), "borders", country(a)


def shores(sources: Sources, atlas: Atlas) -> Iterator[Fact]:
    """Coastal or landlocked, for the countries that Natural Earth draws."""
    for code in atlas.drawn:
        yield country(code), "access_to_sea", Node("shore", "sea" if code in atlas.coastal else "land")


def sovereigns(sources: Sources, atlas: Atlas) -> Iterator[Fact]:
    """Natural Earth's sovereign state of each area it calls a country or a dependency of another's.

    A country that is drawn inside another's area (French Guiana in France) follows that area.
    """
    text = sources.read("world-atlas-1", "world/50m.tsv").decode()
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    states = {row["admin"]: row["iso_a2"] for row in rows if row["admin"] == row["sovereignt"]}
    of_area = {row["name"]: states[row["sovereignt"]] for row in rows if row["sovereignt"] in states}
    parents = {
        row["iso_a2"]: states[row["sovereignt"]]
        for row in rows
        if row["type"] in ("Country", "Dependency") and row["admin"] != row["sovereignt"]
    }
    for code, area in atlas.drawn_inside.items():
        parents[code] = area if area in sources.countries else of_area[area]
    for code, parent in parents.items():
        if code in sources.countries:
            yield country(code), "territory_of", country(parent)
