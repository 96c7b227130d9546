"""Every exception a user can meet.

    CorollaryError
    ├── InputError          a file or a value from outside is wrong: says file, line, value, what was expected
    │   ├── UnknownName     a name that the graph does not hold; suggests the nearest
    │   └── ConfigError     an option or a configuration file is wrong
    ├── GraphError          a graph folder cannot be used
    │   ├── GraphDamaged    a file in it is missing, truncated or changed
    │   └── GraphMismatch   it is not the graph that a run was made with
    ├── RunError            a run folder cannot be used
    │   ├── RunDamaged      a file in it is missing, truncated or changed
    │   └── RunInUse        another process is writing to it
    ├── PlanDoesNotFit      the memory limit is too small, itemised in bytes
    ├── TrainingDiverged    the loss is no longer a finite number
    ├── TrainingInterrupted stopped by the user; says how to go on
    ├── StorageError        the disk is full, read-only, or the place cannot be written
    └── MissingExtra        an optional library is not installed; says which command installs it

The command line prints the message alone and exits 1.
"""


class CorollaryError(Exception):
    """The root of the tree."""


class InputError(CorollaryError):
    """A file or a value from outside is wrong."""


class UnknownName(InputError):
    """A name that the graph does not hold."""


class ConfigError(InputError):
    """An option or a configuration file is wrong."""


class GraphError(CorollaryError):
    """A graph folder cannot be used."""


class GraphDamaged(GraphError):
    """A file of a graph folder is missing, truncated or changed."""


class GraphMismatch(GraphError):
    """A graph folder is not the one that a run was made with."""


class RunError(CorollaryError):
    """A run folder cannot be used."""


class RunDamaged(RunError):
    """A file of a run folder is missing, truncated or changed."""


class RunInUse(RunError):
    """Another process is writing to the run folder."""


class PlanDoesNotFit(CorollaryError):
    """The memory limit is smaller than the smallest plan."""


class TrainingDiverged(CorollaryError):
    """The loss is no longer a finite number."""


class TrainingInterrupted(CorollaryError):
    """Training was stopped by the user and its state is saved."""


class StorageError(CorollaryError):
    """The disk is full, read-only, or the place cannot be written."""


class MissingExtra(CorollaryError):
    """An optional library is not installed."""


def unknown(kind: str, name: str, known: list[str], *, where: str = "") -> str:
    """The message for a name that is not among `known`, with the nearest one suggested."""
    import difflib

    prefix = f"{where}: " if where else ""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else f" Known: {', '.join(sorted(known)[:12])}."
    return f"{prefix}{kind} {name!r} is not known.{hint}"
