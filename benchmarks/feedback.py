"""What does the software add to a judgement: how long from the key press to the next pair on the screen?

It is not how long a person takes to judge: that cannot be measured without people. A real server and a headless
Chromium, and the terminal's verb in a pseudo-terminal; every answer is signed, checked, written and synced: in the
terminal before the next pair is shown, in the page while it is. Five answers a second, which is faster than people are.
"""

from __future__ import annotations

import os
import pty
import random
import re
import select
import subprocess
import time
from pathlib import Path
from typing import Any

from control_room import TENTH, opened
from live import Live
from record import Record, options, spread, workplace

from tenth import keyfile
from tenth.feedback.desk import Desk

COMMAND = ["true"]
KEYS = "120bs"
LINES = 12
PACE = 0.2
"""Seconds from one press to the next, at least."""
SEEN = """
() => {
  const ask = document.getElementById("ask");
  window.took = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { pressed = event.timeStamp; }, { capture: true });
  new MutationObserver(() => {
    if (!pressed || !ask.querySelector("#second pre")) return;
    const from = pressed;
    pressed = 0;
    requestAnimationFrame(() => setTimeout(() => { window.took.push(performance.now() - from); }));
  }).observe(ask, { childList: true });
}
"""
"""From the press, as the browser dates it, to just after the frame that the next pair is drawn in."""


def pairs(many: int) -> list[dict[str, Any]]:
    """Short ones: a dozen lines of code on each side."""
    rng = random.Random(1)

    def side() -> str:
        return "\n".join(f"    value_{rng.randrange(10_000)} = {rng.randrange(10_000)}" for _ in range(LINES))

    return [{"kind": "pair", "prompt": f"def f{n}(x):\n", "a": side(), "b": side()} for n in range(many)]


def page(run: Live, folder: Path, times: int) -> list[float]:
    """Milliseconds, in the page."""
    with opened(run, folder) as (room, context):
        tab = context.new_page()
        tab.goto(f"{room.origin}/r/{run.path.name}/feedback")
        tab.locator("#second pre").wait_for()
        tab.evaluate(SEEN)
        keys = random.Random(2)
        for number in range(1, times + 1):
            due = time.monotonic() + PACE
            tab.keyboard.press(keys.choice(KEYS))
            while tab.evaluate("window.took.length") < number:
                time.sleep(0.002)
            time.sleep(max(0.0, due - time.monotonic()))
        return list(tab.evaluate("window.took"))


def terminal(run: Live, folder: Path, times: int) -> list[float]:
    """Milliseconds, from the byte typed to the whole of the next picture read."""
    home = folder / "keys-home"
    (home / "keys").mkdir(parents=True)
    keyfile.save(next(iter(run.keys.values())), home / "keys" / "judge", "judge")
    ours, theirs = pty.openpty()
    command = [TENTH, "feedback", str(run.path)]
    env = {**os.environ, "TENTH_HOME": str(home), "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    keys, found = random.Random(3), []
    try:
        until(ours, r"\b0 judgements in this sitting.*q.{0,20} leave")
        for number in range(1, times + 1):
            began = time.perf_counter()
            os.write(ours, keys.choice(KEYS).encode())
            until(ours, rf"\b{number} judgements? in this sitting.*q.{{0,20}} leave")
            found.append((time.perf_counter() - began) * 1000)
            time.sleep(max(0.0, PACE - found[-1] / 1000))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return found


def until(side: int, wanted: str) -> None:
    """Read until ``wanted`` stands in what came."""
    seen, end = "", time.monotonic() + 30
    while not re.search(wanted, seen, re.DOTALL):
        if time.monotonic() > end:
            raise SystemExit(f"waited for {wanted}, in vain: {seen[-500:]!r}")
        if select.select([side], [], [], 0.05)[0]:
            seen += os.read(side, 65_536).decode(errors="replace")


def main() -> None:
    chosen = options(__doc__, n=(200, "answers in the page, and as many in the terminal"))
    record = Record("feedback", (__doc__ or "").partition("\n")[0], chosen)
    with workplace() as folder, Live(folder, COMMAND) as run:
        Desk(run.path, run.path.name, {}).table.add(pairs(3 * chosen.n))
        run.start().until("GATE")
        both = {"page": page(run, folder, chosen.n), "terminal": terminal(run, folder, chosen.n)}
    for where, took in both.items():
        what = f"{where}: from the key press to the next pair shown (the software's part, not a person's)"
        record.figure(what, "ms", spread(took, 1), {"p99": ("<=", 100.0)})
    record.detail(took={where: [round(one, 1) for one in took] for where, took in both.items()})
    record.finish()


if __name__ == "__main__":
    main()
