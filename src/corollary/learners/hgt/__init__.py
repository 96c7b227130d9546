"""Heterogeneous graph transformer: typed graphs, exactly on the whole graph or on sampled parts of it."""
