"""Files of many formats into staging tables, and from there into a graph folder: one format, one file."""
