"""What witnesses say of a log that was verified: checked, and in words. For ``verify`` and ``export``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tenth.cli import words
from tenth.errors import WrongInput
from tenth.keys import PublicKey
from tenth.sanitise import plain
from tenth.verify import Report
from tenth.witness import kept
from tenth.witness.checking import SKEW_SECONDS, Seen, Witnessed
from tenth.witness.kept import Parties

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def read(run: Path) -> bytes | None:
    """What lies beside the log; to be read before the log is, which only grows."""
    return kept.read_bytes(run / "log")


def check(run: Path, report: Report, data: bytes | None, heads: Sequence[str]) -> list[Seen]:
    """Hold the log against what was kept beside it, and in ``heads``: files, or "" for every witness of the charter.

    Raises BrokenPromise(7) if the log does not go on from one of them, and WrongInput if one cannot be had.
    """
    history = report.history
    if data is None and not heads:
        return []
    parties = Parties.of(history.run, PublicKey.parse(history.opened["log_key"]), history.charter)
    log, now = Witnessed.of(run, parties, report.entries, report.fingerprint), time.time()
    seen = log.of_run(kept.parse(data, parties), now) if data is not None else []
    for name in filter(None, heads):
        seen += log.of_file(Path(name), now)
    if "" in heads:
        _everyone(parties, seen)
    return seen


def _everyone(parties: Parties, seen: Sequence[Seen]) -> None:
    if not parties.witnesses:
        raise WrongInput(
            "no witness can be heard", "the charter names none", "give a head kept elsewhere: --witness FILE"
        )
    if missing := sorted(set(parties.witnesses) - {one.who for one in seen}):
        found = f"no head that {words.names(missing)} cosigned is kept here"
        do = "have it cosigned: tenth witness ask; or get what they remember: --witness FILE"
        raise WrongInput("not every witness can be heard", found, do)


def records(seen: Sequence[Seen], report: Report) -> list[dict[str, object]]:
    now = time.time()
    return [one.record(report.entries, now) for one in seen]


def lines(seen: Sequence[Seen], report: Report) -> list[str]:
    """One line about each, and what is odd about it."""
    found = []
    for number, one in enumerate(seen):
        label = "witnesses" if number == 0 else ""
        found.append(f"  {label:<10} {_line(one, report.entries)}")
        found += [f"  note       {plain(one.who, limit=40)}: {plain(note)}" for note in one.notes]
    if missing := sorted(set(report.history.charter.witnesses) - {one.who for one in seen}):
        label = "" if seen else "witnesses"
        found.append(f"  {label:<10} nothing was heard of {words.names(missing)} ('tenth witness ask')")
    return found


def _line(one: Seen, entries: int) -> str:
    newer = entries - one.size
    upto = (
        f"all but the newest {newer:,} entries" if newer > 1 else "all but the newest entry" if newer else "all entries"
    )
    if one.time is None:
        return f"a head kept in {plain(one.source, limit=120)} covers {upto}"
    source = "" if one.source.startswith("log/") else f"  ({plain(one.source, limit=120)})"
    return f"{one.who} cosigned {upto}{_age(one.time)}{source}"


def _age(when: float) -> str:
    ago = time.time() - when
    if ago < -SKEW_SECONDS:
        return ""
    seconds, unit = next((size, unit) for size, unit in _UNITS if ago >= 2 * size or size == 1)
    return f", {words.count(max(0, int(ago // seconds)), unit)} ago"
