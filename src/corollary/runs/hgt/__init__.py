"""HGT as a run: one file for its options, its plan, its kind, its embeddings."""
