"""What a watcher knows of a run: the messages of the control socket, added up. Draws nothing."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from tenth.cli.wire import Message
from tenth.cli.words import Entry

MOST_POINTS = 4096
QUIET = frozenset({"metered", "sampled"})
"""Entries that people are not told of one by one."""
PACE_SECONDS = 8.0


class Following:
    """The state of a run as its messages tell it. ``now`` is any clock in seconds that never goes back."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        self.entries: deque[Entry] = deque(maxlen=200)
        """The newest entries, QUIET ones left out."""
        self.samples: deque[dict[str, Any]] = deque(maxlen=24)
        self.losses: list[float] = []
        self._stride = 1
        self._skipped = 0
        self.progress: dict[str, Any] = {}
        self.gates_per_epoch = 10
        self.steps_per_tenth: float | None = None
        """From the tenths that are done; None in the first."""
        self.lease: dict[str, Any] | None = None
        self.halt: Entry | None = None
        self._first_step: int | None = None
        self._pace: deque[tuple[float, int, float]] = deque()
        """(now, step, tokens) of the last seconds."""
        self.now = 0.0

    def heed(self, message: Message, now: float) -> None:
        """Take in one message."""
        self.now = now
        if "status" in message:
            self.status = message["status"]
        for entry in message.get("entries", ()):
            self._entry(entry)
        if message.get("on") == "entry":
            self._entry(message["entry"])
        elif message.get("on") == "progress":
            self._progress(message["progress"], now)
            self.status["spent"] = message["spent"]
        elif message.get("on") == "sample":
            self.samples.appendleft(message["sample"])

    def tick(self, now: float) -> None:
        self.now = now

    def _entry(self, entry: Entry) -> None:
        body, event = entry["body"], entry["event"]
        if event == "metered" and not self.progress:  # joined late: the log remembers a loss every two seconds
            self._loss((body.get("claims") or {}).get("loss"))
        if event in QUIET:
            return
        self.entries.append(entry)
        if event == "leased":
            if self.lease and self.lease["phase"] != body["lease"]["phase"]:
                self.steps_per_tenth = None  # another phase, other steps
            self.lease, self.halt = body["lease"], None
            self.gates_per_epoch = body["lease"]["of"]
            if body["lease"]["resume"] != "thaw":
                self._first_step, self.progress = None, {}
            self._pace.clear()
        if event in ("pulled", "tripped"):
            self.halt = entry
        if event == "reopened":
            self.halt = None
        if event == "reached":
            self._reached(body)

    def _reached(self, body: dict[str, Any]) -> None:
        step = (body.get("position") or {}).get("step") if isinstance(body.get("position"), dict) else None
        done = (body["gate"] - 1) % self.gates_per_epoch + 1
        if isinstance(step, int | float) and step > 0:
            self.steps_per_tenth = step / done

    def _progress(self, frame: dict[str, Any], now: float) -> None:
        self.progress = frame
        self._loss(frame.get("loss"))
        if self._first_step is None:
            self._first_step = frame["step"]
        self._pace.append((now, frame["step"], frame["tokens"]))
        while now - self._pace[0][0] > PACE_SECONDS:
            self._pace.popleft()

    def _loss(self, loss: Any) -> None:
        """Kept at every stride-th report, so that a long run fits."""
        if not isinstance(loss, int | float) or not math.isfinite(loss):
            return
        self._skipped += 1
        if self._skipped % self._stride == 0:
            self.losses.append(float(loss))
        if len(self.losses) > MOST_POINTS:
            self.losses = self.losses[1::2]
            self._stride *= 2

    # --- what follows from it ----------------------------------------------------------------------------------------

    @property
    def stance(self) -> str:
        return str(self.status.get("stance", ""))

    @property
    def training(self) -> bool:
        return self.stance == "RUNNING"

    @property
    def tokens_per_second(self) -> float | None:
        if not self.training or len(self._pace) < 2:
            return None
        (began, _, first), (now, _, last) = self._pace[0], self._pace[-1]
        return float((last - first) / (now - began)) if now - began > 0.5 else None

    @property
    def fraction(self) -> float | None:
        """How much of the present tenth is done; None where nothing tells."""
        if not self.progress or self.stance == "CLOSED":
            return None
        end, start = self._bounds()
        if end is None or start is None or end <= start:
            return None
        return float(max(0.0, min(1.0, (self.progress["step"] - start) / (end - start))))

    def _bounds(self) -> tuple[float | None, float | None]:
        """(last, first) step of the present tenth, counted in the epoch."""
        tenth = (self.lease or {}).get("tenth", 1)
        end = (self.progress.get("metrics") or {}).get("last_step")
        if end is not None:
            per_tenth = end / tenth
            return float(end), float(end - per_tenth)
        if self.steps_per_tenth is None:
            return None, None
        return self.steps_per_tenth * tenth, self.steps_per_tenth * (tenth - 1)

    @property
    def seconds_to_gate(self) -> float | None:
        """At the pace of the last seconds."""
        end, _ = self._bounds()
        if not self.training or end is None or len(self._pace) < 2:
            return None
        (began, first, _), (now, last, _) = self._pace[0], self._pace[-1]
        if last <= first or now - began < 0.5:
            return None
        return max(0.0, (end - last) * (now - began) / (last - first) - (self.now - now))

    @property
    def done_in_epoch(self) -> float:
        """Tenths of the present epoch that are done, with the fraction of the present one."""
        gate, gates = self.status.get("gate", 0), self.status.get("gates", 0)
        whole: float = gate % self.gates_per_epoch
        if gate and gate == gates:
            whole = self.gates_per_epoch
        return whole + (self.fraction or 0.0)
