"""Spoil every call by which a whole short run changes files, in every way, and count what is lost.

The run: an objection and its withdrawal, a tenth, samples, a pull, a reopening, a thaw, a checkpoint that is sealed and
opened again, an adjustment, another tenth, closed. Besides: recovery after a kill, the release at the last gate,
opening a run, signing offline. The ways: killed before, after and within the call; it fails with EIO, or with ENOSPC
from then on; the power goes, and what was not synced is lost. After each, both verifiers look, people go on, and the
last checkpoint must be that of the undisturbed run. Takes half an hour on two idle cores.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import record

for place in ("tests", "tools"):
    sys.path.insert(0, str(record.ROOT / place))

from faults import commands, trials  # noqa: E402 (from the tests)
from faults.calls import SUPPORTED  # noqa: E402
from faults.story import Story  # noqa: E402
from faults.trials import Found, Point  # noqa: E402

COUNTED = {
    "acknowledged decisions lost": "kept_its_word",
    "runs that do not verify any more, or verify for one verifier only": "verifiable",
    "steps beyond a gate": "no_step_beyond",
    "trainers or evidence that outlived their supervisor": "nobody_lives",
    "supervisors that ended with a traceback": "traceback",
}
"""What is counted -> how the story's checks call it."""

STORIES: dict[str, tuple[Callable[[Story], object], int | None]] = {
    "supervisor": (lambda _: None, None),
    "recovery": (Story.bring_to_torn_log, 24),
    "release": (Story.bring_to_last_gate, None),
}
"""Where a story begins, and how many of its calls are spoiled: a recovery is over when its `tripped` is written."""
HALVES = {"opening": "run directories opened by half", "signing": "offline signatures written by half"}

Work = Sequence[tuple[Point, str]]
Json = Any


def main() -> None:
    given = record.options(
        __doc__,
        parallel=(2, "how many at a time"),
        each=(1, "only one in so many"),
        minutes=(180, "begin no more after so long"),
    )
    if not SUPPORTED:
        raise SystemExit("calls are looked at on Linux on x86-64 only")
    os.nice(10)
    told = record.Record("faults", "Is anything lost when any write fails, or is the last?", given)
    asked: dict[str, Work] = {}
    found: dict[str, list[Found]] = {}
    with record.workplace() as folder:
        until = time.monotonic() + 60 * given.minutes
        for name, (bring, most) in STORIES.items():
            (folder / name).mkdir()
            stories = trials.stories(folder / name, given.parallel, seal=True)
            try:
                for story in stories:
                    bring(story)
                asked[name] = trials.wanted(trials.points(stories[0])[:most])[:: given.each]
                spoiled = trials.spoil_all(stories, asked[name], stories[0].result(), until)
                found[name] = list(watched(spoiled, len(asked[name])))
            finally:
                for story in stories:
                    story.run.close()
        for make in (commands.opening, commands.signing):
            some, name = [make(folder / str(number)) for number in range(given.parallel)], make.__name__
            asked[name] = [*trials.wanted(commands.points(some[0])), (commands.LAST, "cut")][:: given.each]
            spoiled = trials.at_once(some, asked[name], lambda command, task: commands.spoil(command, *task))
            found[name] = list(watched(spoiled, len(asked[name])))
    figures(told, asked, found)
    details(told, asked, found)
    told.finish()


def watched(found: Iterable[Found], of: int) -> Iterator[Found]:
    """Say what is not well as it is found, and how far it is."""
    for number, one in enumerate(found, 1):
        if not one.well:
            print(one, file=sys.stderr, flush=True)
        if number % 100 == 0:
            print(f"{number} of {of}", file=sys.stderr, flush=True)
        yield one


def figures(told: record.Record, asked: Mapping[str, Work], found: Mapping[str, list[Found]]) -> None:
    everything = [one for each in found.values() for one in each]
    supervised = [one for name in STORIES for one in found[name]]
    total = sum(map(len, asked.values()))
    share = round(sum(one.reached for one in everything) / total, 4)
    told.figure("faults injected, of all that were asked for", "", {"n": total, "share": share}, {"share": (">=", 1)})
    for what, check in COUNTED.items():
        count(told, what, supervised, lambda one, check=check: any(check in fault for fault in one.faults))
    count(told, "resumes whose last checkpoint is another one", supervised, lambda one: not one.exact)
    for name, what in HALVES.items():
        count(told, what, found[name], lambda one: bool(one.faults))


def count(told: record.Record, what: str, found: Sequence[Found], holds: Callable[[Found], bool]) -> None:
    number = sum(map(holds, found))
    told.figure(what, "", {"n": len(found), "found": number}, {"found": ("<=", 0)})


def details(told: record.Record, asked: Mapping[str, Work], found: Mapping[str, list[Found]]) -> None:
    points = {name: {point for point, _ in work if point.name} for name, work in asked.items()}
    told.detail(
        points={name: dict(Counter(point.name for point in some)) for name, some in points.items()},
        asked={name: dict(Counter(how for _, how in work)) for name, work in asked.items()},
        faults={name: dict(Counter(one.how for one in some if one.reached)) for name, some in found.items()},
        ended=dict(Counter(f"{one.how}: {one.status}" for some in found.values() for one in some)),
        not_well=[str(one) for some in found.values() for one in some if not one.well],
    )


if __name__ == "__main__":
    main()
