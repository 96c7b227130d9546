"""Kills commands, looks at what they leave, lets them end, and compares."""

import random
import re
import shutil
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import scenes
from tests.faults.lives import KINDS, Death, End, Kind, forks, live
from tests.faults.scenes import HIDDEN, SCENES, Scene, contents, leftovers


@dataclass
class Tally:
    """What came of one scene."""

    kills: int = 0
    ends: int = 0
    kinds: Counter = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Runner:
    """Kills in one folder; what the scenes need is made there once, in `ready`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.processes = folder, random.Random(seed), forks()
        self._ready: set[str] = set()
        self._unbroken: dict[str, tuple[dict[Kind, float], Any, dict[str, str]]] = {}

    def run(self, scene: Scene, kills: int) -> Tally:
        """Kill a command `kills` times, some in a row, each row ending with a life that is left alone."""
        tally = Tally()
        while tally.kills < kills:
            folder = self.folder / "now"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self._prepared(scene), folder)
            self._row(scene, folder, min(self.rng.randint(1, scene.lives), kills - tally.kills), tally)
            if tally.violations:
                kept = self.folder / f"kept-{scene.name.replace(' ', '-')}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.move(folder, kept)
                tally.violations.append(f"what was left is in {kept}")
                break
        return tally

    def _row(self, scene: Scene, folder: Path, kills: int, tally: Tally) -> None:
        spans, expected, files = self.unbroken(scene)
        before, deaths = contents(folder), []
        try:
            for _ in range(kills):
                death = self._death(spans)
                deaths.append(f"{death.kind} {death.at:.3f}")
                if (end := self._live(scene, folder, death)).killed:
                    tally.kills += 1
                    tally.kinds[death.kind] += 1
                else:
                    tally.ends += 1
                found = wrong(scene, folder, before, files)
                if not end.killed and end.code != 0 and not _was_done(end):
                    found.append(f"ended with {end.code}: {end.said.strip()}")
                if found or not end.killed:
                    break
            else:
                end = self._live(scene, folder)
                found = wrong(scene, folder, before, files)
                if end.code != 0 and not _was_done(end):
                    found.append(f"the next run ended with {end.code}: {end.said.strip()}")
            found = found or compared(scene, folder, expected)
        except Exception:  # whatever a scene raises is a finding; the other kills go on
            found = [traceback.format_exc()]
        tally.violations += [f"{scene.name}, killed at {', '.join(deaths)}: {what}" for what in found]

    def _death(self, spans: dict[Kind, float]) -> Death:
        kind = self.rng.choice(KINDS)
        at = self.rng.uniform(0, spans[kind])
        return Death(kind, at if kind == "time" else int(at) + 1)

    def _live(self, scene: Scene, folder: Path, death: Death | None = None) -> End:
        return live(self.processes, scene.words(folder), self.folder / "log.txt", death)

    def unbroken(self, scene: Scene) -> tuple[dict[Kind, float], Any, dict[str, str]]:
        """Spans, result and files of a life that nothing disturbs; seconds are measured without counting calls."""
        if scene.name not in self._unbroken:
            folder, spans = self.folder / "now", {}  # results may name their folder
            for death in (None, Death("file", float("inf"))):
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(self._prepared(scene), folder)
                end = self._live(scene, folder, death)
                assert end.code == 0, f"{scene.name} fails without being killed: {end.said}"
                spans = {**end.spans, "call": max(end.spans["call"], spans.get("call", 0))}
            self._unbroken[scene.name] = (spans, _result(scene, folder), contents(folder))
        return self._unbroken[scene.name]

    def _prepared(self, scene: Scene) -> Path:
        """A folder with all that a scene needs, made once."""
        folder = self.folder / ("ready-" + "-".join(scene.needs))
        if str(folder) not in self._ready:
            folder.mkdir(parents=True)
            for need in scene.needs:
                self._make(need, folder)
            self._ready.add(str(folder))
        return folder

    def _make(self, need: str, folder: Path) -> None:
        if need == "files":
            scenes.write_files(folder)
        elif need == "model":
            scenes.write_model(folder)
        elif need == "wide":
            scenes.write_wide_graph(folder)
            self._write_limit(folder)
        elif need == "graph":
            self._command("graph", "import", folder / "good.tsv", "-o", folder / "whole")
            self._command("graph", "split", folder / "whole", "-o", folder / "graph")
        else:
            self._command("train", "conve", folder / "graph", "-o", folder / "trained", *scenes.TRAINING)

    def _write_limit(self, folder: Path) -> None:
        """A limit that only a table on disk fits."""
        (folder / "limit.txt").write_text("1MiB")
        words = SCENES[3].words(folder)
        said = live(self.processes, words, self.folder / "log.txt").said
        smallest = re.search(r"at least ([\d.,]+) MiB", said)
        assert smallest, said
        (folder / "limit.txt").write_text(f"{float(smallest[1].replace(',', '')) + 16:.0f}MiB")

    def _command(self, *words: object) -> None:
        end = live(self.processes, words, self.folder / "log.txt")
        assert end.code == 0, end.said


def wrong(scene: Scene, folder: Path, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What nobody may ever see: something else changed, a half-written file or folder under its final name."""
    found, now = scene.wrong(folder), contents(folder)
    found += [
        f"{name} is not what it was"
        for name, checksum in before.items()
        if name.split("/")[0] not in scene.makes and now.get(name) != checksum
    ]
    if scene.result is not None:
        return found
    for top in scene.makes:
        old, new, seen = (_part(files, top) for files in (before, after, now))
        if not old:
            found += [f"{top} is half-written"] if seen and seen != new else []
        else:
            names = {*old, *seen}
            found += [f"{n} is half-written" for n in names if seen.get(n) not in {old.get(n), new.get(n)}]
    return found


def _part(files: dict[str, str], top: str) -> dict[str, str]:
    """Files of one folder but for those that writers hide, and its lock."""
    return {
        name: checksum
        for name, checksum in files.items()
        if name.split("/")[0] == top and HIDDEN not in name and not name.endswith(".lock")
    }


def _was_done(end: End) -> bool:
    """Whether the life before was killed when all was done, so that the next finds the result in its way."""
    return "exists already" in end.said


def compared(scene: Scene, folder: Path, expected: Any) -> list[str]:
    found = [f"{name} is left over" for name in leftovers(folder)]
    result = _result(scene, folder)
    if result != expected:
        keys = [key for key in {*result, *expected} if result.get(key) != expected.get(key)]
        found.append(f"the result is another one: {', '.join(sorted(keys))}")
    return found


def _result(scene: Scene, folder: Path) -> Any:
    if scene.result is not None:
        return scene.result(folder)
    return {name: v for top in scene.makes for name, v in _part(contents(folder), top).items()}
