"""The record of one benchmark: figures with their bounds, the machine, and how much else it had to do.

Every script makes one Record, which ends up in ``results/NAME.json``; ``report.py`` writes the document from these.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import math
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
BUILD = ROOT / "build"
QUIET = 0.1
"""A machine is quiet when less than this share of its processors works while nothing of ours does."""

Json = Any


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all values do not pass (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """What a column of numbers comes to."""
    found = {"p50": statistics.median(values), "p99": quantile(values, 0.99), "min": min(values), "max": max(values)}
    return {"n": len(values), **{name: round(value, digits) for name, value in found.items()}}


class Record:
    """Made when the measuring begins: it looks at how busy the machine is before, and at the end once more."""

    def __init__(self, name: str, question: str, options: argparse.Namespace) -> None:
        self.name, self._question, self._options = name, question, options
        self._figures: list[Json] = []
        self._details: dict[str, Json] = {}
        self._began = time.time()
        self._machine = machine()
        self._before = burden()
        self._ticks = _ticks()

    @property
    def disk(self) -> str:
        """Kind of the file system that ``workplace`` is on."""
        return str(self._machine["disk"])

    def figure(
        self, what: str, unit: str, measured: Mapping[str, float], must: Mapping[str, tuple[str, float]] | None = None
    ) -> None:
        """``must``: name of a statistic in ``measured`` -> ("<=" or ">=", bound). Without it, for information."""
        reached = all(holds(measured[name], sign, bound) for name, (sign, bound) in (must or {}).items())
        bounds = [{"statistic": name, "is": sign, "bound": bound} for name, (sign, bound) in (must or {}).items()]
        row = {"what": what, "unit": unit, "measured": dict(measured), "must": bounds}
        self._figures.append({**row, "reached": reached if bounds else None})

    def detail(self, **facts: Json) -> None:
        """Raw numbers, and whatever explains the figures."""
        self._details |= facts

    def finish(self) -> Json:
        """Write the record, print it, return it."""
        after, ticks = burden(), _ticks()
        total = max(1, sum(ticks) - sum(self._ticks))
        load = {"before": self._before, "after": after, "stolen": round((ticks[7] - self._ticks[7]) / total, 4)}
        load["quiet"] = all(one["busy"] < QUIET for one in (self._before, after))
        record = {
            "name": self.name,
            "question": self._question,
            "command": shlex.join(["python", f"benchmarks/{self.name}.py", *sys.argv[1:]]),
            "options": vars(self._options),
            "began": datetime.datetime.fromtimestamp(self._began, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": round(time.time() - self._began, 1),
            "machine": self._machine,
            "source": source(),
            "load": load,
            "figures": self._figures,
            "details": self._details,
        }
        (RESULTS / f"{self.name}.json").parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        (RESULTS / f"{self.name}.json").write_text(_one_line_lists(text))
        shown = {**record, "details": "see the file"}
        print(json.dumps(shown, indent=1, ensure_ascii=False))
        return record


def holds(value: float, sign: str, bound: float) -> bool:
    return value <= bound if sign == "<=" else value >= bound


def _one_line_lists(text: str) -> str:
    """Lists of plain numbers on one line: two hundred pulls are not two hundred lines."""
    lines: list[str] = []
    run: list[str] | None = None
    for line in text.split("\n"):
        bare = line.strip().rstrip(",")
        if run is not None and _is_number(bare):
            run.append(bare)
        elif run is not None and bare == "]":
            lines[-1] += ", ".join(run) + line.strip()
            run = None
        else:
            if run is not None:
                indent = " " * (len(lines[-1]) - len(lines[-1].lstrip()) + 1)
                lines += [f"{indent}{number}," for number in run]
            lines.append(line)
            run = [] if line.endswith("[") else None
    return "\n".join(lines)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "null"
    return True


# --- the machine -----------------------------------------------------------------------------------------------------


def machine() -> dict[str, Json]:
    """What the figures were taken on; no names, no paths."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    BUILD.mkdir(exist_ok=True)
    disk = subprocess.run(["stat", "-f", "-c", "%T", str(BUILD)], capture_output=True, text=True, check=True)
    return {
        "processor": model.strip(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * size / 2**30),
        "virtual": any(line.startswith("flags") and " hypervisor" in line for line in lines),
        "kernel": platform.release().partition("-")[0],
        "disk": disk.stdout.strip(),
        "python": platform.python_version(),
    }


def source() -> dict[str, Json]:
    """The commit, and whether the package was changed since."""
    said = [
        subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout.strip()
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "src"))
    ]
    return {"commit": said[0] or None, "changed": bool(said[1])}


def _ticks() -> list[int]:
    """Processor time of the whole machine: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def busy_share(before: list[int], after: list[int]) -> float:
    """Share of all processors that was not idle between two readings."""
    idle = sum(after[i] - before[i] for i in (3, 4))
    return 1 - idle / max(1, sum(after) - sum(before))


def burden(seconds: float = 1.0) -> dict[str, float]:
    """The load average, and the share of the processors that others use while we sleep."""
    before = _ticks()
    time.sleep(seconds)
    return {"load1": round(os.getloadavg()[0], 2), "busy": round(busy_share(before, _ticks()), 3)}


class Others:
    """How much of the processors was used by processes that are not ours, for work whose children are waited for."""

    def __init__(self, supervisor: int | None = None) -> None:
        """``supervisor``: a child that lives on, whose own children are waited for by it."""
        self._supervisor = supervisor
        self._before, self._ours = _ticks(), _own_seconds(supervisor)

    def share(self) -> float:
        after = _ticks()
        total = max(1, sum(after) - sum(self._before))
        ours = (_own_seconds(self._supervisor) - self._ours) * os.sysconf("SC_CLK_TCK") / total
        return round(max(0.0, busy_share(self._before, after) - ours), 3)


def _own_seconds(child: int | None) -> float:
    ours = sum(os.times()[:4])
    if child is None:
        return ours
    return ours + sum(processor_seconds(child))


def processor_seconds(pid: int) -> tuple[float, float]:
    """Of a process itself, and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, waited_user, waited_system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:15])
    return user + system, waited_user + waited_system


def wait_for_quiet(minutes: float) -> bool:
    """Until the machine has been quiet for ten seconds; False when it never was."""
    deadline, quiet = time.monotonic() + 60 * minutes, 0
    while quiet < 5:
        quiet = quiet + 1 if burden(2)["busy"] < QUIET / 2 else 0
        if time.monotonic() > deadline:
            return False
    return True


# --- a place to work -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder on the checkout's own disk, removed in the end."""
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    try:
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def kept(name: str, patterns: Sequence[str], known: Json = None) -> Path:
    """A folder for what took long: the same as long as the files that ``patterns`` find and what is ``known`` are."""
    found = hashlib.sha256(json.dumps(known).encode())
    for path in (path for pattern in patterns for path in sorted(ROOT.glob(pattern))):
        found.update(path.read_bytes())
    folder = BUILD / f"{name}-{found.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def options(description: str | None, **numbers: tuple[int, str]) -> argparse.Namespace:
    """Command-line options that are all numbers: name -> (default, meaning)."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    for name, (default, meaning) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (default {default})")
    return parser.parse_args()
