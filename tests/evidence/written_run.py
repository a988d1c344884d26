"""A run's folder written by hand, for evidence that reads the record and no checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tenth.encoding import canonical
from tenth.evidence.sealed import Sealed


class WrittenRun:
    """The log grows by what is called; one panel of evidence lies in each gate's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.shards = folder, 0, 0
        for name in ("log", "samples"):
            (folder / name).mkdir(parents=True)

    def entry(self, event: str, **body: Any) -> None:
        line = canonical({"body": body, "event": event, "index": self.rows, "time": "2026-11-21T09:30:00.123Z"})
        self.rows += 1
        with (self.folder / "log" / "entries.jsonl").open("ab") as file:
            file.write(line + b"\n")

    def sampled(self, *texts: str) -> None:
        self.shards += 1
        path = f"samples/{self.shards:06d}.jsonl"
        rows = [{"step": self.rows, "prompt": "def ", "text": text} for text in texts]
        data = b"".join(canonical(row) + b"\n" for row in rows)
        (self.folder / path).write_bytes(data)
        self.entry("sampled", path=path, sha256=hashlib.sha256(data).hexdigest(), count=len(rows))

    def say(self, by: str, verdict: str, sample: str) -> None:
        row = {"by": by, "verdict": verdict, "sample": sample, "note": "", "time": "", "gate": 0, "step": 0}
        with (self.folder / "reviews.jsonl").open("ab") as file:
            file.write(canonical(row) + b"\n")

    def gathering(self, gate: int, panel: str, *, again: int = 0) -> Sealed:
        """What the panel's command is given while this gate's evidence is computed."""
        out = self.folder / "gates" / (f"{gate:02d}" + (f".{again}" if again else "")) / "evidence" / panel
        out.mkdir(parents=True)
        nowhere = self.folder / "nowhere"
        return Sealed(
            run="r", gate=gate, checkpoint=nowhere, previous=None, data=nowhere, root=nowhere, recipe=nowhere,
            work=nowhere, prompts=(), out=out,
        )  # fmt: skip

    def seal(self, sealed: Sealed) -> dict[str, Any]:
        """The gate is laid on the table; returns the panel's summary."""
        self.entry("sealed", gate=sealed.gate, path=str(sealed.out.parents[1].relative_to(self.folder)))
        summary: dict[str, Any] = json.loads((sealed.out / "summary.json").read_text())
        return summary
