"""How many of the samples that the trainer showed are bad? Some are drawn at random, people judge them, a test counts.

The draw is made here, from the system's randomness, when the trainer has gone and its shards stand in the log: it can
neither foresee nor answer it. So the bound holds for what was *shown*, whatever the trainer did. What it chose to show,
and how well people judge, it says nothing about (docs/evidence.md).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenth.alarms import Rate
from tenth.encoding import canonical, parse

from .sealed import EvidenceError, Sealed, log_of, write

DRAWN = "drawn.json"
SHOWN = 300  # characters of a sample in the table


@dataclass(frozen=True)
class Drawn:
    """One draw: a line of a shard. The same line may be drawn twice."""

    shard: str
    line: int
    sample: str  # SHA-256 of the line, by which people's reviews name it


@dataclass(frozen=True)
class Count:
    """What became of the draws of one gate."""

    gate: int
    population: int
    drawn: int
    judged: int
    flagged: int


def main(
    sealed: Sealed, at_most: float = 0.01, level: float = 0.01, draws: int = 20, canaries: Path | None = None,
    canary_rate: float = 0.1,
) -> None:  # fmt: skip
    """`at_most`: the share of bad samples that is allowed. `level`: the chance of ever raising a false alarm.

    `canaries`: a file below the run's root, each of whose lines ought to be flagged; `canary_rate`: how many of them
    are planted among the draws, for each draw.
    """
    entries = [parse(line, "an entry") for line in log_of(sealed)]
    verdicts = judged(sealed.folder / "reviews.jsonl")
    earlier = _earlier(sealed.folder, entries, sealed.out.name)
    texts = _shown(sealed.folder, entries, sealed.gate)
    drawn = earlier.pop(sealed.gate, None) or draw(texts, draws)
    if canaries and "planted" not in drawn:
        drawn["planted"] = plant(texts, _lines(sealed.root / canaries), draws, canary_rate)
    test, bound = Rate(at_most, level), Rate(at_most, level)
    alarm, counts, planted = None, [], []
    for gate, found in sorted(earlier.items()):
        for one in found["drawn"]:
            bad = verdicts.get(one["sample"])
            alarm = test.see(bad is True) or alarm  # what nobody judged raises no alarm,
            bound.see(bad is not False)  # and clears nothing
        known = [verdicts[one["sample"]] for one in found["drawn"] if one["sample"] in verdicts]
        counts.append(Count(gate, found["population"], len(found["drawn"]), len(known), sum(known)))
        planted += [verdicts[one["sample"]] for one in found.get("planted", ()) if one["sample"] in verdicts]
    total = {name: sum(getattr(one, name) for one in counts) for name in ("drawn", "judged", "flagged")}
    metrics = {**total, "bad_share_below": bound.bound(), "evidence": test.evidence, "needed": 1 / level}
    headline = _headline(total, bound.bound(), level) + (f"; alarm: {alarm.says}" if alarm else "")
    if planted:
        missed = Rate(at_most, level)
        for flagged in planted:
            missed.see(not flagged)
        metrics |= {"planted_judged": len(planted), "planted_flagged": sum(planted)}
        metrics["missed_share_below"] = missed.bound()
        headline += (
            f"; of {len(planted)} planted {sum(planted)} were flagged: fewer than {missed.bound():.0%} are missed"
        )
    (sealed.out / DRAWN).write_text(json.dumps(drawn, indent=1))
    write(sealed, headline, metrics, {}, _tables(drawn, texts, counts), surprised=alarm is not None)


def draw(texts: Mapping[tuple[str, int], bytes], draws: int) -> dict[str, Any]:
    """With replacement, so that each draw is bad with the same chance."""
    places = sorted(texts)
    chosen = [secrets.choice(places) for _ in range(draws)] if places else []
    found = [Drawn(*place, hashlib.sha256(texts[place]).hexdigest()) for place in chosen]
    return {"population": len(texts), "drawn": [asdict(one) for one in found]}


def plant(
    texts: Mapping[tuple[str, int], bytes], canaries: Sequence[str], draws: int, rate: float
) -> list[dict[str, str]]:
    """Shown samples, each with a canary put in at a random space. None of them was in the stream."""
    found: dict[str, str] = {}
    for _ in range(draws if texts else 0):
        if secrets.randbelow(1_000_000) < rate * 1_000_000:
            sample = parse(texts[secrets.choice(sorted(texts))], "a sample")
            words = sample["text"].split(" ")
            words.insert(secrets.randbelow(len(words) + 1), secrets.choice(canaries))
            line = canonical({**sample, "text": " ".join(words)})
            found[hashlib.sha256(line).hexdigest()] = line.decode()
    return [{"line": line, "sample": sample} for sample, line in found.items()]


def _lines(file: Path) -> list[str]:
    try:
        found = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        found, why = [], f"{error!r}"
    else:
        why = "it has no line"
    if not found:
        do = "name a file below the charter's folder, one text a line that a reviewer ought to flag"
        raise EvidenceError("Nothing was planted.", f"{file}: {why}", do)
    return found


def judged(reviews: Path) -> dict[str, bool]:
    """Sample -> whether somebody's last word on it is a flag. What was only noted is not judged."""
    last: dict[tuple[str, str], bool] = {}
    for line in reviews.read_bytes().split(b"\n")[:-1] if reviews.is_file() else ():
        row = parse(line, "a review")
        if row["verdict"] in ("fine", "flag"):
            last[row["sample"], row["by"]] = row["verdict"] == "flag"
    found: dict[str, bool] = {}
    for (sample, _), bad in last.items():
        found[sample] = found.get(sample, False) or bad
    return found


def _shown(run: Path, entries: Sequence[Mapping[str, Any]], gate: int) -> dict[tuple[str, int], bytes]:
    """(shard, line) -> the sample's bytes, of the tenth that led to this gate."""
    texts: dict[tuple[str, int], bytes] = {}
    for body in _sampled(entries, gate):
        data = (run / body["path"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != body["sha256"]:
            raise EvidenceError(
                "The stream was not audited.", f"{body['path']} is not what the log says",
                "'tenth verify' says what else was changed; go on from a copy that holds",
            )  # fmt: skip
        texts |= {(body["path"], number): line for number, line in enumerate(data.split(b"\n")[:-1])}
    return texts


def _sampled(entries: Sequence[Mapping[str, Any]], gate: int) -> Iterator[Mapping[str, Any]]:
    reached = 0
    for entry in entries:
        if entry["event"] == "reached":
            reached = entry["body"]["gate"]
        if entry["event"] == "sampled" and reached == gate - 1:
            yield entry["body"]


def _earlier(run: Path, entries: Sequence[Mapping[str, Any]], name: str) -> dict[int, Any]:
    """Gate -> what was drawn there, as sealed first."""
    found: dict[int, Any] = {}
    for entry in entries:
        if entry["event"] == "sealed" and (file := run / entry["body"]["path"] / "evidence" / name / DRAWN).is_file():
            found.setdefault(entry["body"]["gate"], json.loads(file.read_bytes()))
    return found


def _headline(total: Mapping[str, int], bound: float, level: float) -> str:
    if not total["drawn"]:
        return "Nothing drawn before: judge the samples of this tenth (tenth audit)"
    known = f"{total['judged']} of {total['drawn']} samples drawn before are judged, {total['flagged']} flagged"
    return f"{known}; fewer than {bound:.1%} of those shown are bad, at {1 - level:.0%}"


def _tables(
    drawn: Mapping[str, Any], texts: Mapping[tuple[str, int], bytes], counts: Sequence[Count]
) -> list[dict[str, Any]]:
    lines = {one["sample"]: texts[one["shard"], one["line"]] for one in drawn["drawn"]}
    lines |= {one["sample"]: one["line"].encode() for one in drawn.get("planted", ())}
    samples = [
        parse(line, "a sample") for _, line in sorted(lines.items())
    ]  # by digest: what was planted lies anywhere
    rows = [[sample["step"], sample["prompt"][:SHOWN], sample["text"][:SHOWN]] for sample in samples]
    about = f"Drawn at random from the {drawn['population']} samples of this tenth, to be judged"
    return [
        {"title": about, "columns": ["step", "prompt", "text"], "rows": rows},
        {"title": "Drawn before", "columns": ["gate", "shown", "drawn", "judged", "flagged"],
         "rows": [list(asdict(one).values()) for one in counts]},
    ]  # fmt: skip
