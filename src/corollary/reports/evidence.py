"""The facts that an explanation cites as one drawing: head left, tail right, columns by distance between them.

The same explanation gives the same picture: nothing is drawn at random and nothing moves. It holds at most 40 nodes and
80 edges, those of the rules first, then of the paths, then of influence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from corollary.records.explanation import Explanation, Fact, InfluenceReasons, PathReasons, RuleReasons
from corollary.reports.markup import shortened, visible

MOST_NODES, MOST_EDGES = 40, 80
HUB = 50
"""Training triples from which a node's degree is written beside it."""

_STEPS = 6
"""Columns between head and tail, less one: sixths of the way."""
_COLUMN, _ROW, _MARGIN, _RADIUS, _LETTERS = 150, 46, 70, 7, 20
_UNREACHED = 10**6

Part = str
Link = Callable[[str], str]


@dataclass(frozen=True)
class Picture:
    """The drawing, and how much of the evidence it shows."""

    svg: Markup
    facts: int
    of: int
    nodes: int


def cited(found: Explanation) -> dict[int, list[Part]]:
    """By fact, the parts of the explanation that cite it: rules, paths, influence."""
    lists: dict[Part, list[int]] = {"rules": [], "paths": [], "influence": []}
    if isinstance(found.rules, RuleReasons):
        lists["rules"] = [f for rule in found.rules.shown for way in rule.groundings for f in way.facts]
    if isinstance(found.paths, PathReasons):
        lists["paths"] = [fact for path in found.paths.shown for fact in path.facts]
    if isinstance(found.influence, InfluenceReasons):
        every = (*found.influence.proponents, *found.influence.opponents)
        lists["influence"] = [one.fact for one in every]
        lists["influence"] += [group.best.fact for group in found.influence.groups]
    parts: dict[int, list[Part]] = {}
    for part, facts in lists.items():
        for fact in dict.fromkeys(facts):
            parts.setdefault(fact, []).append(part)
    return parts


def picture(found: Explanation, entity_url: Link | None = None) -> Picture:
    """Draw the facts.

    Args:
        entity_url: address of an entity's page by its label; without it nodes are no links.
    """
    parts = cited(found)
    by_number = {fact.id: fact for fact in found.facts}
    drawn, nodes = _chosen([by_number[number] for number in parts], found.head.id, found.tail.id)
    columns = _columns(drawn, nodes, found.head.id, found.tail.id)
    places, width, height = _places(columns, drawn)
    edges = [_edge(found, fact, parts[fact.id], places, bend) for fact, bend in _bends(drawn)]
    marks = [_node(found, node, place, entity_url) for node, place in places.items()]
    label = f"{len(drawn)} of {len(parts)} cited facts between {len(nodes)} entities"
    svg = Markup(
        '<svg class="evidence" role="group" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" class="tip"/></marker></defs>\n{}\n{}\n</svg>'
    ).format(label, width, height, width, height, Markup("\n").join(edges), Markup("\n").join(marks))
    return Picture(svg, len(drawn), len(parts), len(nodes))


def _chosen(facts: Sequence[Fact], head: int, tail: int) -> tuple[list[Fact], list[int]]:
    """Facts in their order while their nodes and edges have room; the nodes in the order of first mention."""
    nodes = dict.fromkeys((head, tail))
    drawn: list[Fact] = []
    for fact in facts:
        ends = dict.fromkeys((fact.head, fact.tail))
        if len(drawn) < MOST_EDGES and len(nodes | ends) <= MOST_NODES:
            nodes |= ends
            drawn.append(fact)
    return drawn, list(nodes)


def _columns(facts: Sequence[Fact], nodes: Sequence[int], head: int, tail: int) -> dict[int, list[int]]:
    """By sixth of the way from head to tail, the nodes there."""
    near: dict[int, set[int]] = {node: set() for node in nodes}
    for fact in facts:
        near[fact.head].add(fact.tail)
        near[fact.tail].add(fact.head)
    from_head, from_tail = _distances(near, head, tail), _distances(near, tail, head)
    columns: dict[int, list[int]] = {}
    for node in nodes:
        columns.setdefault(_column(node, head, tail, from_head[node], from_tail[node]), []).append(node)
    return dict(sorted(columns.items()))


def _column(node: int, head: int, tail: int, from_head: int, from_tail: int) -> int:
    if node == head:
        return 0
    if node == tail:
        return _STEPS
    if from_tail == _UNREACHED:
        return 1
    if from_head == _UNREACHED:
        return _STEPS - 1
    return min(_STEPS - 1, max(1, round(_STEPS * from_head / (from_head + from_tail))))


def _distances(near: Mapping[int, set[int]], start: int, closed: int) -> dict[int, int]:
    """Edges from `start` to every node on ways that do not lead through `closed`."""
    found, edge = dict.fromkeys(near, _UNREACHED) | {start: 0}, [start]
    while edge:
        following = []
        for node in edge:
            for other in sorted(near[node]):
                if other != closed and found[other] == _UNREACHED:
                    found[other] = found[node] + 1
                    following.append(other)
        edge = following
    return found


def _places(
    columns: Mapping[int, Sequence[int]], facts: Sequence[Fact]
) -> tuple[dict[int, tuple[float, float]], int, int]:
    """Coordinates by node, width and height. A node stands at the mean height of its neighbours to the left."""
    tallest = max(len(column) for column in columns.values())
    height = max(2, tallest) * _ROW + 2 * (_ROW // 2)
    width = 2 * _MARGIN + max(1, len(columns) - 1) * _COLUMN
    places: dict[int, tuple[float, float]] = {}
    for number, column in enumerate(columns.values()):
        wanted = {node: _mean_height(node, places, facts, height) for node in column}
        ordered = sorted(column, key=lambda node: (wanted[node], column.index(node)))
        first = height / 2 - (len(column) - 1) * _ROW / 2
        for row, node in enumerate(ordered):
            # every other row a little to the side, so that edges within a column can be told apart
            shift = 16 * (row % 2) if len(column) > 2 else 0
            places[node] = (_MARGIN + number * _COLUMN + shift, first + row * _ROW)
    return places, width, height


def _mean_height(
    node: int, places: Mapping[int, tuple[float, float]], facts: Sequence[Fact], height: float
) -> float:
    heights = [
        places[other][1]
        for fact in facts
        for one, other in ((fact.head, fact.tail), (fact.tail, fact.head))
        if one == node and other in places
    ]
    return sum(heights) / len(heights) if heights else height / 2


def _bends(facts: Sequence[Fact]) -> list[tuple[Fact, int]]:
    """Facts with the number of those before them that link the same two."""
    seen: dict[tuple[int, int], int] = {}
    found = []
    for fact in facts:
        pair = (min(fact.head, fact.tail), max(fact.head, fact.tail))
        found.append((fact, seen.get(pair, 0)))
        seen[pair] = seen.get(pair, 0) + 1
    return found


def _edge(
    found: Explanation,
    fact: Fact,
    parts: Sequence[Part],
    places: Mapping[int, tuple[float, float]],
    bend: int,
) -> Markup:
    """An arrow that is a link to the fact in the list, with its number in the middle."""
    (x1, y1), (x2, y2) = places[fact.head], places[fact.tail]
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    sentence = visible(
        f"Fact {fact.id}: {found.entities[fact.head].name} — {found.relations[fact.relation].name} → "
        f"{found.entities[fact.tail].name}"
    )
    classes = " ".join(("edge", *parts))
    if length == 0:
        line = f"M{x1:.1f} {y1 - _RADIUS:.1f}C{x1 - 28:.1f} {y1 - 40:.1f} {x1 + 28:.1f} {y1 - 40:.1f} {x1:.1f} {y1 - _RADIUS:.1f}"
        x, y = x1, y1 - 34
    else:
        across, along = (-(y2 - y1) / length, (x2 - x1) / length), ((x2 - x1) / length, (y2 - y1) / length)
        if (fact.head, fact.tail) != (min(fact.head, fact.tail), max(fact.head, fact.tail)):
            across = (-across[0], -across[1])  # both directions of a pair bend to sides of one frame
        base = 60 if abs(x2 - x1) < _COLUMN / 2 else 12  # within a column, around the nodes between
        size = (base + 16 * ((bend + 1) // 2)) * (1 if bend % 2 == 0 else -1)
        cx, cy = (x1 + x2) / 2 + across[0] * size, (y1 + y2) / 2 + across[1] * size
        gap = _RADIUS + 2
        line = (
            f"M{x1 + along[0] * gap:.1f} {y1 + along[1] * gap:.1f}Q{cx:.1f} {cy:.1f} "
            f"{x2 - along[0] * gap:.1f} {y2 - along[1] * gap:.1f}"
        )
        x, y = (x1 + 2 * cx + x2) / 4, (y1 + 2 * cy + y2) / 4
    return Markup(
        '<a href="#fact-{0}" class="{1}" data-fact="{0}" aria-label="{2}"><title>{2}</title>'
        '<path d="{3}" marker-end="url(#arrow)"/><text x="{4}" y="{5}">{0}</text></a>'
    ).format(fact.id, classes, sentence, line, f"{x:.1f}", f"{y + 3:.1f}")


def _node(found: Explanation, node: int, place: tuple[float, float], entity_url: Link | None) -> Markup:
    """A dot with its name below it; of hubs also the number of their training triples."""
    name, (x, y) = found.entities[node], place
    full = visible(name.name)
    degree = f" ({name.degree:,})" if name.degree is not None and name.degree >= HUB else ""
    kind = "node end" if node in (found.head.id, found.tail.id) else "node"
    inside = Markup(
        '<title>{}</title><circle cx="{}" cy="{}" r="{}"/><text x="{}" y="{}">{}{}</text>'
    ).format(
        f"{full}, {name.degree:,} training facts" if name.degree is not None else full,
        f"{x:.1f}", f"{y:.1f}", _RADIUS, f"{x:.1f}", f"{y + _RADIUS + 13:.1f}", shortened(full, _LETTERS), degree,
    )  # fmt: skip
    if entity_url is None:
        return Markup('<g class="{}">{}</g>').format(kind, inside)
    return Markup('<a href="{}" class="{}">{}</a>').format(escape(entity_url(name.label)), kind, inside)
