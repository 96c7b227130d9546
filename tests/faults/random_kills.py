"""Kills commands at random moments and looks whether anything is lost: python tests/faults/random_kills.py --kills 200.

The same seed draws the same kills; where in its work a process stands at a time differs from run to run.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):  # before torch and numba are imported
    os.environ.setdefault(variable, "1")
os.environ["PYTHONWARNINGS"] = (
    "ignore::UserWarning:multiprocessing.resource_tracker"  # of semaphores of the killed
)
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.lives import KINDS  # noqa: E402
from tests.faults.runner import Runner  # noqa: E402
from tests.faults.scenes import SCENES  # noqa: E402


def main() -> int:
    """Print a line a scene; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; what a violation left is kept there")
    parser.add_argument("--only", help="scenes whose name holds this word")
    options = parser.parse_args()
    chosen = [scene for scene in SCENES if options.only is None or options.only in scene.name]
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    runner, violations, killed = Runner(folder, options.seed), [], 0
    shares = sum(scene.share for scene in chosen)
    print(
        f"{'scene':<16} {'kills':>6} {'ended':>6} {' '.join(f'{kind:>6}' for kind in KINDS)} {'wrong':>6} {'seconds':>8}"
    )
    for scene in chosen:
        started = time.monotonic()
        tally = runner.run(scene, max(1, round(options.kills * scene.share / shares)))
        violations += tally.violations
        killed += tally.kills
        kinds = " ".join(f"{tally.kinds[kind]:>6}" for kind in KINDS)
        print(
            f"{scene.name:<16} {tally.kills:>6} {tally.ends:>6} {kinds} {len(tally.violations):>6} "
            f"{time.monotonic() - started:>8.1f}",
            flush=True,
        )
    print(f"{killed} kills, {len(violations)} violations")
    for violation in violations:
        print(f"- {violation}")
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
