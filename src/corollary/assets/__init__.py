"""The pipeline of `corollary repurpose` as Dagster assets: `dagster dev -m corollary.assets`.

The only room that imports dagster; it calls the stages of `repurpose` and adds nothing to what they compute.
"""

from corollary.assets.definitions import defs as defs
