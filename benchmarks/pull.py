"""How long after a pull is heard does the last process of the trainer stop?

Two trainers are pulled again and again under the real supervisor, in every back-end that the machine has: one of five
busy processes that ignore every signal, four of them children and two of these daemonised; and one that forks without
end, twelve chains of processes that each live as long as it takes to fork the next. Measured twice: by the supervisor
(``stopped_ms``: heard to stopped), and from outside, by the time that each process last wrote after the request.
"""

from __future__ import annotations

import json
import random
import time
from itertools import product
from typing import Any

from live import BACK_ENDS, Live, back_ends
from pulled import COMMAND, begin, go_on, pull
from record import Record, options, quantile, spread, workplace

MUST = {"p50": ("<=", 10.0), "p99": ("<=", 100.0)}


TREES = {"five that ignore signals": COMMAND, "chains that fork without end": ["python3", "code/forking.py"]}


def measure(back_end: str, command: list[str], times: int) -> dict[str, list[float]]:
    """Columns of milliseconds, one number for each pull."""
    found: dict[str, list[float]] = {"supervisor": [], "outside": [], "answered": [], "cycle": []}
    with workplace() as folder, Live(folder, command, back_end=back_end) as run:
        clock = begin(run)
        for _ in range(times):
            began = time.monotonic()
            with run.connect() as sock, sock.makefile("rb") as lines:
                time.sleep(random.uniform(0.01, 0.04))

                def ask(sock: Any = sock, lines: Any = lines) -> Any:
                    sent = time.monotonic_ns()
                    sock.sendall(b'{"do":"pull","name":"lin"}\n')
                    return sent, next(one for one in map(json.loads, lines) if "ok" in one)

                one = pull(clock, ask)
            answer = one["answer"]
            if not answer["ok"] or answer["processes"] < 5 or not answer["status"]["frozen"]:
                raise SystemExit(f"the pull was not what it should be: {answer}")
            go_on(run, clock, one["last"])
            row = {"supervisor": answer["stopped_ms"], "outside": one["outside"], "answered": one["answered"]}
            for name, value in {**row, "cycle": 1000 * (time.monotonic() - began)}.items():
                found[name].append(round(value, 3))
    return found


def main() -> None:
    chosen = options(__doc__, n=(200, "pulls in each back-end"))
    record = Record("pull", (__doc__ or "").partition("\n")[0], chosen)
    for name, (tree, command) in product(back_ends(), TREES.items()):
        columns = measure(name, command, chosen.n)
        must = MUST if command is COMMAND else {"p99": MUST["p99"]}
        for place, words in (("supervisor", "by the supervisor's own clock"), ("outside", "seen from outside")):
            record.figure(f"pull → every process stopped, {words} ({name}; {tree})", "ms", spread(columns[place]), must)
        record.detail(**{f"{name}; {tree}": columns})
        print(name, tree, {key: (quantile(column, 0.5), max(column)) for key, column in columns.items()}, flush=True)
    record.detail(missing=[name for name in BACK_ENDS if name not in back_ends()])
    record.finish()


if __name__ == "__main__":
    main()
