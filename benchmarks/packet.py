"""What does the whole packet at a gate cost, of a model of ten million weights?

    python benchmarks/packet.py [--width 320] [--every 20]

A real run, with the built-in trainer on this Python's standard library, and every panel of `tenth-evidence` that a run
of pretraining can have, in its quarantine, with its interpreter started anew. Looked at is the third gate, the first
that has everything: a checkpoint before, a placebo two gates back, and a forecast. Measured is the time between two
entries of the log, from the tenth's end (`reached`) to the sealed dossier, and what the supervisor's meter charged for
each panel. A run of an hour has ten such gates; the share of its compute is reckoned from that.
"""

from __future__ import annotations

import datetime
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from live import DEMO_ENV, Live, back_ends
from oversight_cost import MORE
from record import Record, options, workplace

from tenth.trainer.presets import parameters
from tenth.trainer.recipe import load_recipe

PANELS = ("bpb", "completions", "diff", "capabilities", "changes", "stream", "forecast --of bpb.bits_per_byte")
GATE = 3
MUST_SECONDS, MUST_SHARE = 60.0, 0.03
HOUR, GATES = 3600.0, 10
PATIENCE = 900.0  # seconds, for a tenth and its packet


def main() -> None:
    chosen = options(
        __doc__, width=(320, "of the model, which has six layers"), every=(20, "tenths of the epoch"),
    )  # fmt: skip
    record = Record("packet", "What does the whole packet at a gate cost?", chosen)
    model = {"depth": 6, "width": chosen.width}
    with (
        workplace() as folder,
        Live(
            folder, ["tenth-trainer", "pretrain", "recipe.toml"], DEMO_ENV, every=chosen.every, back_end=back_ends()[0],
            standard_library=MORE, panels=PANELS, model=model,
            patience=PATIENCE,
        ) as live,
    ):  # fmt: skip
        live.start()
        for _ in range(GATE):
            gate = live.until("GATE")["gate"]
            live.consent()
            live.wait(partial(_left, live, gate), "the next gate")
        recipe = load_recipe(live.path / "recipe.toml")
        weights = parameters(recipe, recipe.data.vocabulary)
        dossier = json.loads((live.path / "gates" / f"{GATE:02d}" / "dossier.json").read_bytes())
        found = json.loads((live.path / "gates" / f"{GATE:02d}" / "evidence" / "diff" / "summary.json").read_bytes())
        seconds = between(live.path / "log" / "entries.jsonl")
        live.stop()
    spent = {row["name"]: round(row["device_seconds"], 2) for row in dossier["evidence"]}
    cores = len(os.sched_getaffinity(0))
    about = f"{len(PANELS)} panels, {weights / 1e6:.1f} million weights, {cores} cores"
    record.figure(
        f"whole packet, from the tenth's end to the sealed dossier; {about}", "s",
        {"n": 1, "once": round(seconds, 1)}, {"once": ("<=", MUST_SECONDS)},
    )  # fmt: skip
    share = GATES * sum(spent.values()) / (HOUR * cores)
    record.figure(
        f"packets of the ten gates of a run of an hour, of its compute; {about}", "share",
        {"n": 1, "once": round(share, 3)}, {"once": ("<=", MUST_SHARE)},
    )  # fmt: skip
    record.figure(f"the same: one packet, {about}", "device-seconds", {"n": 1, "once": round(sum(spent.values()), 1)})
    looked = found["metrics"].get("passages_looked_at")
    record.detail(device_seconds=spent, diff=found["metrics"], looked_at=looked)
    record.finish()


def _left(live: Live, gate: int) -> bool:
    """Is this gate behind us? Raises SystemExit where the run tripped."""
    status = live.status()
    if status["stance"] == "HALTED":
        raise SystemExit(f"the run tripped\n{live.said()}")
    return bool(status["stance"] == "GATE" and status["gate"] > gate)


def between(log: Path) -> float:
    """Seconds from the newest entry `reached` to the entry `sealed` that follows."""
    entries: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    times = {entry["event"]: datetime.datetime.fromisoformat(entry["time"]) for entry in entries}
    return (times["sealed"] - times["reached"]).total_seconds()


if __name__ == "__main__":
    main()
