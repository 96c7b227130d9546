"""What this package knows of the Biolink model: general categories, symmetric predicates, names of relations.

Source: the Biolink model (github.com/biolink/biolink-model, CC0), written down by hand; a category or predicate
that is not named here is treated as specific and directed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corollary.errors import InputError, UnknownName, unknown
from corollary.storage import write_text

PREFIX = "biolink:"

_GENERALITY = {  # the larger, the less it says; classes of one line are used side by side
    **dict.fromkeys(("Entity", "NamedThing"), 9),
    **dict.fromkeys(("PhysicalEssenceOrOccurrent", "PhysicalEssence", "Occurrent", "OntologyClass"), 8),
    **dict.fromkeys(("ThingWithTaxon", "SubjectOfInvestigation", "BiologicalEntity"), 7),
    **dict.fromkeys(
        (
            "ChemicalEntityOrGeneOrGeneProduct",
            "ChemicalEntityOrProteinOrPolypeptide",
            "ChemicalOrDrugOrTreatment",
            "GenomicEntity",
            "RegulatoryEntity",
            "EpigenomicEntity",
            "Outcome",
            "InformationContentEntity",
            "PlanetaryEntity",
            "AdministrativeEntity",
        ),
        6,
    ),
    **dict.fromkeys(("GeneOrGeneProduct", "GeneProductMixin", "MacromolecularMachineMixin"), 5),
    **dict.fromkeys(("OrganismalEntity", "DiseaseOrPhenotypicFeature", "BiologicalProcessOrActivity"), 4),
    **dict.fromkeys(("ChemicalEntity", "AnatomicalEntity", "Activity", "Procedure"), 3),
    **dict.fromkeys(("MolecularEntity", "ChemicalMixture", "NucleicAcidEntity"), 2),
    **dict.fromkeys(("MolecularMixture", "Polypeptide", "Transcript", "BiologicalProcess"), 1),
}

SYMMETRIC_PREDICATES = tuple(
    PREFIX + name
    for name in (
        "associated_with",
        "chemically_similar_to",
        "close_match",
        "coexists_with",
        "coexpressed_with",
        "colocalizes_with",
        "correlated_with",
        "directly_physically_interacts_with",
        "exact_match",
        "genetically_associated_with",
        "genetically_interacts_with",
        "homologous_to",
        "in_cell_population_with",
        "in_complex_with",
        "in_linkage_disequilibrium_with",
        "in_pathway_with",
        "indirectly_physically_interacts_with",
        "interacts_with",
        "negatively_correlated_with",
        "occurs_together_in_literature_with",
        "opposite_of",
        "orthologous_to",
        "overlaps",
        "paralogous_to",
        "physically_interacts_with",
        "positively_correlated_with",
        "related_to",
        "same_as",
        "similar_to",
        "temporally_related_to",
        "xenologous_to",
    )
)


def bare(name: str) -> str:
    """A category or predicate without `biolink:`."""
    return name.removeprefix(PREFIX)


def primary_type(categories: Sequence[str]) -> str:
    """The most specific of a node's categories, without `biolink:`; empty where there is none.

    Lists often hold all ancestors, from specific to general or sorted by name. The rule is one line: the first
    of those that say most, where roots, mixins and broad classes say less than any class not in `_GENERALITY`.
    """
    return min(map(bare, categories), key=lambda name: _GENERALITY.get(name, 0), default="")


def is_symmetric(predicate: str, qualifiers: Mapping[str, str], symmetric: Sequence[str]) -> bool:
    """Whether an edge means the same when it is turned round.

    A qualifier of its subject or object would belong to the other end after turning: such an edge is directed.
    """
    directed = any(value and name.startswith(("subject_", "object_")) for name, value in qualifiers.items())
    return not directed and bare(predicate) in {bare(name) for name in symmetric}


def relation_name(predicate: str, qualifiers: Mapping[str, str]) -> str:
    """A predicate with the qualifiers that are not empty: `biolink:affects[object_aspect_qualifier=activity]`."""
    given = ",".join(f"{name}={value}" for name, value in qualifiers.items() if value)
    return f"{predicate}[{given}]" if given else predicate


def relation_key(predicate: str, qualifiers: Mapping[str, str]) -> str:
    """The key of an edge map: JSON of the predicate with every chosen qualifier, empty ones too, sorted by name."""
    return json.dumps({"predicate": predicate, **qualifiers}, sort_keys=True)


@dataclass(frozen=True)
class EdgeMap:
    """Names of relations by predicate and qualifiers: the content of `edge_map.json`.

    The file is one JSON object; a key is the JSON text of predicate and qualifiers (`relation_key`), or a bare
    predicate; a value is the relation's name, such as `predicate:28`. Qualifiers that are empty count as absent.
    """

    names: Mapping[str, str]
    path: Path | None = None

    @cached_property
    def qualifiers(self) -> tuple[str, ...]:
        """The qualifiers that some entry uses."""
        return tuple(sorted({name for _, given in self._index for name, _ in given}))

    def name_of(self, predicate: str, qualifiers: Mapping[str, str]) -> str:
        """Raises `UnknownName` for a combination that the map does not hold."""
        given = frozenset((name, value) for name, value in qualifiers.items() if value)
        if (predicate, given) not in self._index:
            known = [relation_name(known, dict(sorted(parts))) for known, parts in self._index]
            wanted = relation_name(predicate, dict(sorted(given)))
            raise UnknownName(unknown("relation", wanted, known, where=str(self.path or "edge map")))
        return self._index[predicate, given]

    @cached_property
    def _index(self) -> dict[tuple[str, frozenset[tuple[str, str]]], str]:
        index: dict[tuple[str, frozenset[tuple[str, str]]], str] = {}
        for key, name in self.names.items():
            predicate, given = _read_key(key, self.path)
            if index.setdefault((predicate, given), name) != name:
                raise InputError(
                    f"{self.path or 'edge map'}: {key} has two names, {index[predicate, given]!r} and {name!r}"
                )
        return index


def read_edge_map(path: Path) -> EdgeMap:
    """Read `edge_map.json`. Raises `InputError` where it is not an object of text values."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(names, dict) or not all(isinstance(name, str) and name for name in names.values()):
        raise InputError(
            f'{path}: expected one JSON object of relation names, such as {{"biolink:treats": "predicate:0"}}'
        )
    edge_map = EdgeMap(names, path)
    edge_map.qualifiers  # noqa: B018  reads every key, so that a wrong one is reported now
    return edge_map


def write_edge_map(path: Path, names: Mapping[str, str]) -> None:
    """Write `edge_map.json` from names by `relation_key`; `read_edge_map` reads it back."""
    write_text(path, json.dumps(dict(names), indent=2, ensure_ascii=False) + "\n")


def _read_key(key: str, path: Path | None) -> tuple[str, frozenset[tuple[str, str]]]:
    if not key.lstrip().startswith("{"):
        return key, frozenset()
    try:
        parts = json.loads(key)
    except json.JSONDecodeError as error:
        raise InputError(f"{path or 'edge map'}: the key {key!r} is not valid JSON: {error.msg}") from None
    predicate = parts.pop("predicate", None)
    if not isinstance(predicate, str) or not all(isinstance(value, str | None) for value in parts.values()):
        raise InputError(
            f'{path or "edge map"}: the key {key!r} is not understood: expected {{"predicate": ...}} with text qualifiers'
        )
    return predicate, frozenset((name, value) for name, value in parts.items() if value)
