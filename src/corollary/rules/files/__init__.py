"""Rule files: text, JSON, TSV, AnyBURL, AMIE and Prolog, written and read."""
