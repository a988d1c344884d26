"""Would the reviewers notice? At some gates, drawn in secret, a packet of evidence about a shadow that was planted.

The draw is from the system's randomness, after the trainer has gone. If it says so, a shadow of the checkpoint is
trained in a temporary folder (shadow.py), every other panel of this gate is run on it, and what they write is kept
below `packet`, beside `key.json`, which says what was planted. The folder is hashed into the gate's dossier like any
evidence, so nobody can choose the packet after they have seen an answer. What it does not hide: docs/evidence.md.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tenth.encoding import open_envelope, parse
from tenth.evidence.sealed import EvidenceError, Sealed, agreed_files, log_of, write
from tenth.jail.wire import GIVEN

from . import shadow

SAYS = (
    "At some gates, drawn in secret, the packet that is shown first is of a shadow in which something was planted, "
    "to see whether it is noticed. Whether this is such a gate is said after your answer."
)
NOT_HERE = "No drill at this gate: a shadow needs a checkpoint of the gate before, and a phase of pretraining"
PACKET, KEY = "packet", "key.json"
SHOWN = 20
"""Planted documents that the key quotes."""
TIMEOUT = 600.0
"""Seconds, where the charter does not say (docs/charter.md)."""
RECORD = ("charter.toml", "manifest.json", "samples", "reviews.jsonl", "log/entries.jsonl")
"""What of the run's folder a panel may read (tenth.supervisor.gathering)."""


def main(sealed: Sealed, rate: float) -> None:
    """`rate`: the chance that this gate is drilled. A panel that fails on the shadow fails the drill."""
    if not _possible(sealed):
        write(sealed, NOT_HERE, {}, {})
        return
    write(sealed, SAYS, {}, {})
    usual = _processor_seconds()  # what this panel costs where there is no drill
    if secrets.SystemRandom().random() >= rate:
        return
    with tempfile.TemporaryDirectory(dir=sealed.out) as place:
        run = Path(place)
        gate = run / "gates" / sealed.out.parents[1].name  # 03, or 03.2 where the gate is sealed again
        checkpoint = run / "checkpoints" / f"{sealed.gate:02d}"
        _mirror(sealed, run, gate)
        made = shadow.make(sealed, checkpoint, np.random.default_rng(secrets.randbits(128)))
        _describe(sealed, checkpoint, gate, made)
        rows = {name: _panel(gate, name, *asked) for name, asked in _asked(sealed).items() if name != sealed.out.name}
        own = gate / "evidence" / sealed.out.name
        own.mkdir(parents=True)
        shutil.copy(sealed.out / "summary.json", own)
        shutil.move(gate / "evidence", sealed.out / PACKET)
    facts = {
        "drill": 1, "kind": made.kind, "documents": made.documents[:SHOWN], "planted": len(made.places),
        "steps": made.steps, "shadow": made.sha256, "device_seconds": rows | {sealed.out.name: usual},
    }  # fmt: skip
    (sealed.out / KEY).write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _possible(sealed: Sealed) -> bool:
    if sealed.checkpoint is None or sealed.previous is None:
        return False
    return "corpus" in json.loads((sealed.checkpoint / "state.json").read_text("utf-8"))


def _mirror(sealed: Sealed, run: Path, gate: Path) -> None:
    """The run's folder as panels may see it, all but this gate: links to what there is."""
    assert sealed.previous is not None
    there = [sealed.folder / name for name in RECORD] + agreed_files(sealed) + [*(sealed.folder / "gates").iterdir()]
    found = {one.relative_to(sealed.folder): one for one in there}
    earlier = [f"{number:02d}" for number in range(sealed.gate)]
    found |= {Path("checkpoints", name): sealed.previous.with_name(name) for name in earlier}
    for name, target in found.items():
        if target.exists() and target.name != gate.name:
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).symlink_to(target)
    gate.mkdir(parents=True)


def _describe(sealed: Sealed, checkpoint: Path, gate: Path, made: shadow.Shadow) -> None:
    """The shadow's own sealed.json, and beside it what its interval's text has in place of its own."""
    (gate / "planted.json").write_text(json.dumps(made.places))
    assert sealed.previous is not None
    facts = {
        "run": sealed.run, "path": str(gate.parents[1]), "gate": sealed.gate, "checkpoint": str(checkpoint),
        "previous": str(checkpoint.with_name(sealed.previous.name)), "data": str(sealed.data), "root": str(sealed.root),
        "recipe": str(sealed.recipe), "work": str(sealed.work), "prompts": list(sealed.prompts),
        "planted": str(gate / "planted.json"),
    }  # fmt: skip
    (gate / "sealed.json").write_text(json.dumps(facts))


def _asked(sealed: Sealed) -> dict[str, tuple[list[str], float]]:
    """Name -> command and seconds, of the evidence that this gate asks for: the charter's, as it was adjusted."""
    charter = tomllib.loads((sealed.folder / "charter.toml").read_text("utf-8"))
    asked = {one["name"]: (one["command"], float(one.get("timeout_seconds", TIMEOUT))) for one in charter["evidence"]}
    for line in log_of(sealed):
        entry = parse(line, "an entry")
        if entry["event"] == "adjusted":
            _adjust(asked, parse(open_envelope(entry["body"]["envelope"])[0], "an adjustment")["predicate"]["patch"])
    return asked


def _adjust(asked: dict[str, tuple[list[str], float]], patch: Mapping[str, Any]) -> None:
    changes = patch.get("evidence", {})
    for name in changes.get("drop", []):
        asked.pop(name, None)
    asked |= {one["name"]: (one["command"], TIMEOUT) for one in changes.get("add", [])}


def _panel(gate: Path, name: str, command: list[str], seconds: float) -> float:
    """Run one panel on the shadow, as the supervisor would; returns the processor seconds that it took."""
    out = gate / "evidence" / name
    out.mkdir(parents=True)
    known = {"TENTH_SEALED": str(gate / "sealed.json"), "TENTH_OUT": str(out), "HOME": str(out), "TMPDIR": str(out)}
    jail = [int(number) for number in os.environ.get(GIVEN, "").split(",") if number]
    before = _processor_seconds()
    try:
        done = subprocess.run(
            command, env=os.environ | known, timeout=seconds, capture_output=True, check=False, pass_fds=jail
        )  # fmt: skip
        found = f"'{name}' ended with status {done.returncode}: {done.stderr[-500:].decode(errors='replace')}"
        failed = done.returncode or not (out / "summary.json").is_file()
    except (OSError, subprocess.TimeoutExpired) as error:
        found, failed = f"'{name}': {error}", True
    if failed:
        raise EvidenceError("No drill was made.", found, "mend that panel, or drop the drill: tenth adjust")
    return _processor_seconds() - before


def _processor_seconds() -> float:
    """Of this process and the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
