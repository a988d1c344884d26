"""An evidence command in a few lines. Arguments: what it does, one of the functions below."""

import itertools
import json
import os
import sys
import time
from pathlib import Path

out, sealed = Path(os.environ["TENTH_OUT"]), json.loads(Path(os.environ["TENTH_SEALED"]).read_text())


def write() -> None:
    """What an honest panel does."""
    size = sum(path.stat().st_size for path in Path(sealed["checkpoint"]).rglob("*") if path.is_file())
    (out / "summary.json").write_text(json.dumps({"bytes": size, "gate": sealed["gate"]}))


def read() -> None:
    """What it may see of the run's record, and what it may not."""
    run = Path(sealed["path"])
    shown = ["log/entries.jsonl", "gates/00/dossier.json", "samples/000001.jsonl", "reviews.jsonl"]
    hidden = ["supervisor.key", "supervisor.lock", "log/heads"]
    (out / "summary.json").write_text(json.dumps({name: readable(run / name) for name in shown + hidden}))


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def jailed() -> None:
    """Has a program run in the jail beside it."""
    from tenth.jail.wire import Jail, Program

    with Jail.attached() as jail:
        outcome = jail.run(Program("def f(x):\n    return x + 1", "f", [[41]]))
    (out / "summary.json").write_text(json.dumps({"answer": outcome.answers[0].value}))


def surprise() -> None:
    (out / "summary.json").write_text('{"surprised": true}')


def text() -> None:
    """Writes what is no JSON."""
    (out / "summary.json").write_text("all is well")


def nan() -> None:
    (out / "summary.json").write_text('{"metrics": {"loss": NaN}}')


def listing() -> None:
    (out / "summary.json").write_text("[]")


def maybe() -> None:
    (out / "summary.json").write_text('{"surprised": 1}')


def huge() -> None:
    (out / "summary.json").write_text('"' + "x" * (1 << 22) + '"')


def fail() -> None:
    sys.exit("no evidence today")


def nothing() -> None:
    """Ends well and writes nothing."""


def link() -> None:
    write()
    (out / "link").symlink_to("/etc/passwd")


def name() -> None:
    """Writes a file whose name is not text."""
    write()
    Path(os.fsdecode(os.fsencode(out) + b"/\xff")).write_text("x")


def deep() -> None:
    write()
    os.chdir(out)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")


def churn() -> None:
    """Makes and removes files while somebody looks at how many bytes there are."""
    until = time.monotonic() + 1.5
    for number in itertools.count():
        folder = out / f"tmp{number % 7}"
        folder.mkdir()
        (folder / "x").write_text("x")
        (folder / "x").unlink()
        folder.rmdir()
        if time.monotonic() > until:
            break
    write()


def hang() -> None:
    time.sleep(1e6)


def spin() -> None:
    while True:
        pass


globals()[sys.argv[1]]()
