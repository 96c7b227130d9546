"""From a graph to ranked answers of one relation between two node types, with probabilities and evidence."""
