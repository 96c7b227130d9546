"""Commands: parse, call one function, print. torch is imported inside the commands that need it."""
