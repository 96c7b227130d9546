"""From configuration to run folder and back: the only room that opens folders for the others."""
