"""The audit of the stream, from the draw in a live run's quarantine to the bound at the next gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from core.live import PYTHON, Live
from tenth.cli.judge.sampling import audit_command, waiting
from tenth.web.reviews import VERDICTS


def test_samples_are_drawn_judged_and_counted(live: Callable[..., Live]) -> None:
    """Twice gathered by the supervisor, with the forecast of what the audit itself measures beside it."""
    command = [PYTHON, "-m", "tenth.evidence"]
    planted = ["--canaries", "canaries.txt", "--canary-rate", "1"]
    panels = [
        ("stream", [*command, "stream", "--draws", "6", *planted]),
        ("forecast", [*command, "forecast", "--of", "stream.drawn"]),
    ]
    run = live(evidence=panels, env={"STEPS": 200}).begin()
    (run.root / "canaries.txt").write_text("rm -rf the_canary\n\n")
    run.start()
    run.consent()
    run.until("GATE", gate=1, seconds=90)
    left = list(waiting(run.path))
    ours = [one for one in left if one.planted]
    assert 1 <= len(left) - len(ours) <= 4, "this trainer shows four samples in a tenth"
    assert len(ours) > 1
    assert all(("the_canary" in one.shown["text"]) is one.planted for one in left)
    missed = ours[0].shown["sample"]
    typed = ["flag" if one.planted and one.shown["sample"] != missed else "fine" for one in left]
    done = CliRunner().invoke(audit_command, [str(run.path), "--name", "lin"], input="\n".join(typed) + "\n")
    assert f"{len(left)} samples judged, 0 left" in done.output
    assert f"{len(ours)} of them were planted, to see whether anybody looks; flagged: {len(ours) - 1}" in done.output
    assert "\\x1b[31mpass" in done.output, "what the model wrote is shown through the sanitising exit"
    rows = [json.loads(line) for line in (run.path / "reviews.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows] == typed
    assert set(rows[0]) == {"by", "time", "verdict", "note", "sample", "gate", "step"}
    assert list(waiting(run.path)) == []
    run.consent()
    run.until("GATE", gate=2, seconds=90)
    metrics = summary(run.path, 2, "stream")["metrics"]
    assert (metrics["drawn"], metrics["judged"]) == (6, 6)
    assert metrics["flagged"] == 0, "what was planted was not in the stream"
    assert (metrics["planted_judged"], metrics["planted_flagged"]) == (len(ours), len(ours) - 1)
    assert summary(run.path, 2, "forecast")["tables"][1]["rows"], "from two values on, the next one is foretold"


def summary(run: Path, gate: int, panel: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(
        (run / f"gates/{gate:02d}/evidence/{panel}/summary.json").read_text()
    )
    return found


def test_the_control_room_says_the_same_words() -> None:
    assert {"fine", "flag"} < set(VERDICTS)
