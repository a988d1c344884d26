"""The automatic people of the demo, labelled as such: signatories who verify and then consent, a watcher who pulls.

They act as people do: through signed statements, over the control socket. They work in a thread of their own, so that
the view stays live while they read.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tenth.cli import pull, wire
from tenth.cli.demo.folder import Say
from tenth.cli.gate import signing
from tenth.cli.live.following import Following
from tenth.errors import TenthError, WrongInput
from tenth.gate import statement
from tenth.keys import SigningKey
from tenth.log.entry import timestamp

PULLED_TENTH = 4
MOST_TRIPS = 2
"""So often a run that tripped by itself is reopened; then something is wrong, and the demo ends."""
NOTE = "automatic: every digest of the dossier was verified"


def speak(run: Path, event: str, name: str, key: SigningKey, note: str = "") -> None:
    """Verify everything on record, then sign for this moment and hand it in."""
    found = signing.checked(run)
    state, subjects = found.history.state, None
    if event in statement.ON_DOSSIER:
        signing.at_gate(found, event)
        assert state.dossier is not None
        assert found.history.dossier is not None
        subjects = statement.subjects_of(state.dossier, found.history.dossier)
    envelope = statement.sign(
        event, key, run=found.history.run, signatory=name, anchor=state.anchor, time=timestamp(time.time()),
        subjects=subjects, note=note,
    )  # fmt: skip
    wire.ask(run, do="submit", envelope=envelope)


class Cast:
    """Hears every message, and does what its people would do."""

    def __init__(
        self, run: Path, following: Following, keys: dict[str, SigningKey], watcher: str, *, say: Say,
        read_seconds: float, halt_seconds: float, before: Mapping[int, Callable[[Path, Say], None]],
    ) -> None:  # fmt: skip
        """``keys``: the automatic signatories'. ``say`` shows a sentence. ``before``: see ``Plan``."""
        self._run, self._following, self._keys, self._watcher = run, following, keys, watcher
        self._say, self._read, self._halt, self._before = say, read_seconds, halt_seconds, dict(before)
        self._todo: queue.Queue[tuple[float, Callable[[], None]] | None] = queue.Queue()
        self._dealt: set[str] = set()
        self._trips = 0
        self.failure: Exception | None = None
        """What the demo must end with."""
        self._thread = threading.Thread(target=self._work, name="the automatic people", daemon=True)
        self._thread.start()

    def heard(self, _message: object) -> None:
        """In the view's thread: notice, and leave the doing to the other."""
        status = self._following.status
        stance, anchor = status.get("stance"), str(status.get("anchor"))
        if stance == "GATE" and anchor not in self._dealt:
            self._dealt.add(anchor)
            if first := self._before.pop(status["gate"], None):
                self._later(self._read, lambda: first(self._run, self._say))
                return
            for number, name in enumerate(self._keys):
                self._later(self._read if number == 0 else self._read / 2, lambda name=name: self._consent(name))  # type: ignore[misc]
        elif stance == "HALTED" and anchor not in self._dealt:
            self._dealt.add(anchor)
            self._later(self._halt, self._reopen)
        elif stance == "RUNNING" and "cord" not in self._dealt and self._mid_lease():
            self._dealt.add("cord")
            self._later(0, self._pull)

    def _mid_lease(self) -> bool:
        fraction = self._following.fraction
        return (
            self._following.status.get("gate") == PULLED_TENTH - 1 and fraction is not None and 0.45 < fraction < 0.95
        )

    def close(self) -> None:
        self._todo.put(None)
        self._thread.join(timeout=10)

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._todo.put((seconds, action))

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            time.sleep(job[0])
            try:
                job[1]()
            except WrongInput as refused:
                # The moment has passed: somebody pulled, or the run is over. The next dossier asks again.
                self._say(str(refused.found or refused.refused))
            except (TenthError, OSError) as error:
                self.failure = error
                return

    def _consent(self, name: str) -> None:
        self._say(f"{name} (automatic) verifies the dossier")
        speak(self._run, "consented", name, self._keys[name], NOTE)
        self._say("")

    def _reopen(self) -> None:
        halt = self._following.halt
        if halt is not None and halt["event"] == "tripped":
            self._trips += 1
            if self._trips > MOST_TRIPS:
                detail = str(halt["body"].get("detail", ""))
                raise TenthError(
                    "the demo ends here", f"the run tripped again and again: {detail}", f"see {self._run}/trainer.log"
                )
        name = next(iter(self._keys))
        self._say(f"{name} (automatic) reopens the run; everyone is asked again")
        speak(self._run, "reopened", name, self._keys[name], "automatic: part of the demo")

    def _pull(self) -> None:
        self._say(f"{self._watcher} (automatic) pulls the cord, as anyone may at any time")
        pull.stop(str(self._run), self._watcher)


def labels(automatic: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(automatic, "automatic")
