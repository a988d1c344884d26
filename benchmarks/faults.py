"""Spoil every call by which a whole short run changes files, in every way, and count what is lost.

The run: opened, an objection and its withdrawal, a tenth, samples, a pull, a reopening, a thaw, a checkpoint, an
adjustment, another tenth, closed. The ways: killed before, after and within the call; the call fails with EIO, or with
ENOSPC from then on; the power goes, and what was not synced is lost. After each, both verifiers look, people go on, and
the last checkpoint must be that of the undisturbed run. Takes about half an hour on two cores.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import record

for place in ("tests", "tools"):
    sys.path.insert(0, str(record.ROOT / place))

from faults import commands, trials  # noqa: E402 (from the tests)
from faults.calls import SUPPORTED  # noqa: E402
from faults.trials import Found, Point  # noqa: E402

COUNTED = {
    "acknowledged decisions lost": "kept_its_word",
    "runs that do not verify any more, or verify for one verifier only": "verifiable",
    "steps beyond a gate": "no_step_beyond",
    "trainers or evidence that outlived their supervisor": "nobody_lives",
    "supervisors that ended with a traceback": "traceback",
}
"""What is counted -> how the story's checks call it."""

Work = Sequence[tuple[Point, str]]


def main() -> None:
    given = record.options(__doc__, parallel=(2, "how many at a time"), each=(1, "only one in so many"))
    if not SUPPORTED:
        raise SystemExit("calls are looked at on Linux on x86-64 only")
    os.nice(10)
    told = record.Record("faults", "Is anything lost when any write fails, or is the last?", given)
    with record.workplace() as folder:
        stories = trials.stories(folder, given.parallel)
        try:
            work = trials.wanted(trials.points(stories[0]))[:: given.each]
            found = list(watched(trials.spoil_all(stories, work, stories[0].run.result()), len(work)))
        finally:
            for story in stories:
                story.run.close()
        asked: dict[str, Work] = {"supervisor": work}
        for make in (commands.opening, commands.signing):
            command = make(folder)
            asked[make.__name__] = [*trials.wanted(commands.points(command)), (commands.LAST, "cut")][:: given.each]
            tried = [commands.spoil(command, *one) for one in asked[make.__name__]]
            halves = sum(bool(one.faults) for one in tried)
            what = {"opening": "run directories opened by half", "signing": "offline signatures written by half"}
            told.figure(what[make.__name__], "", {"n": len(tried), "found": halves}, {"found": ("<=", 0)})
            found += watched(tried, len(tried))
    figures(told, found[: len(work)])
    whole = "all that there are" if given.each == 1 else f"one in {given.each}"
    visited = sum(one.reached for one in found)
    told.figure(
        f"faults injected, of {whole}",
        "",
        {"n": len(found), "share": visited / len(found)},
        {"share": (">=", 1)},
    )
    told.detail(
        points={
            name: dict(Counter(point.name for point in dict.fromkeys(point for point, _ in one) if point.name))
            for name, one in asked.items()
        },
        faults={name: dict(Counter(how for _, how in one)) for name, one in asked.items()},
        ended=dict(Counter(f"{one.how}: {one.status}" for one in found)),
        not_well=[str(one) for one in found if not one.well],
    )
    told.finish()


def watched(found: Any, of: int) -> Any:
    """Say what is not well as it is found, and how far it is."""
    for number, one in enumerate(found, 1):
        if not one.well:
            print(one, file=sys.stderr, flush=True)
        if number % 100 == 0:
            print(f"{number} of {of}", file=sys.stderr, flush=True)
        yield one


def figures(told: record.Record, found: Sequence[Found]) -> None:
    """Of the supervisor's faults."""
    for what, check in COUNTED.items():
        count = sum(any(check in fault for fault in one.faults) for one in found)
        told.figure(what, "", {"n": len(found), "found": count}, {"found": ("<=", 0)})
    count = sum(not one.exact for one in found)
    told.figure(
        "resumes whose last checkpoint is another one", "", {"n": len(found), "found": count}, {"found": ("<=", 0)}
    )


if __name__ == "__main__":
    main()
