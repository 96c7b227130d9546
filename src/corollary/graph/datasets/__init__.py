"""Public graphs by name: found or fetched, held against their checksums, imported."""
