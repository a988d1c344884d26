"""How fast `tenth data` turns source code into token shards, and how much memory it takes as the corpus grows.

The corpus is the source of the standard library of the Python that runs it. Four times as much is four copies, each
document with a line of its own, so that none is a duplicate. ``--short`` takes a tenth of it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from record import Record, workplace

from tenth.trainer import tokenizer
from tenth.trainer.words import Encoder

MB = 1e6


def write_corpus(place: Path, copies: int, share: int) -> int:
    """Every ``share``-th module, ``copies`` times; returns its bytes."""
    root, size = Path(sysconfig.get_paths()["stdlib"]), 0
    modules = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts][::share]
    for copy in range(copies):
        for number, path in enumerate(modules):
            content = path.read_bytes() + (f"# copy {copy}\n".encode() if copy else b"")
            target = place / f"{copy}" / f"{number:05d}.py"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            size += len(content)
    return size


def prepare(source: Path, out: Path, workers: int) -> tuple[float, float]:
    """Seconds and peak MB of the largest process, of one whole command."""
    words = [sys.executable, "-m", "tenth.cli", "data", str(source), "--out", str(out), "--json"]
    started = time.perf_counter()
    process = subprocess.Popen([*words, "--workers", str(workers)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - started, used.ru_maxrss * 1024 / MB


def encoding_rates(source: Path, out: Path) -> tuple[list[float], list[float]]:
    """MB/s of one process, by words that were seen and by the library alone, in turn; each time from no words."""
    text = tokenizer.from_file(out / "tokenizer.json")
    contents = [path.read_bytes() for path in sorted(source.rglob("*.py"))]
    contents = [content for content in contents if _is_utf8(content)][:600]
    size, ours, theirs = sum(map(len, contents)) / MB, [], []
    for _ in range(3):
        encoder, started = Encoder(text), time.perf_counter()
        for content in contents:
            encoder.encode_on(content)
        ours.append(size / (time.perf_counter() - started))
        started = time.perf_counter()
        text.encode([content.decode() for content in contents])
        theirs.append(size / (time.perf_counter() - started))
    return ours, theirs


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def spread_of(values: list[float]) -> dict[str, float]:
    return {"n": len(values), "p50": round(statistics.median(values), 2), "min": round(min(values), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="whole preparations (default 3)")
    parser.add_argument("--short", action="store_true", help="a tenth of the corpus, once")
    options = parser.parse_args()
    repeats, share = (1, 10) if options.short else (options.repeats, 1)
    record = Record("data_preparation", "How fast is data prepared, and in how much memory?", options)
    with workplace() as place:
        once, four = place / "once", place / "four"
        size, larger = write_corpus(once, 1, share), write_corpus(four, 4, share)
        cores = len(os.sched_getaffinity(0))
        runs = [prepare(once, place / f"out{number}", cores) for number in range(repeats)]
        rates = [size / MB / seconds for seconds, _ in runs]
        seconds, peak = prepare(four, place / "out-four", cores)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # from here on: the command itself sets it where it wants to
        about = json.loads((place / "out0" / "manifest.json").read_text())
        ours, theirs = encoding_rates(once, place / "out0")
    what = f"`tenth data` on {size / MB:.1f} MB of code, BPE of 4,096, from start to end"
    record.figure(what, "MB/s", spread_of(rates), None if options.short else {"p50": (">=", 10)})
    record.figure(f"the same on {larger / MB:.0f} MB", "MB/s", {"n": 1, "p50": round(larger / MB / seconds, 2)})
    record.figure("encoding in one process, words remembered", "MB/s", spread_of(ours))
    record.figure("encoding in one process, by the library alone", "MB/s", spread_of(theirs))
    growth = peak / max(memory for _, memory in runs)
    record.figure("peak memory of the largest process, four times the corpus against once", "times",
                  {"n": 1, "p50": round(growth, 3)}, {"p50": ("<=", 1.25)})  # fmt: skip
    record.detail(bytes=size, peak_mb=[round(memory, 1) for _, memory in runs], peak_mb_of_four=round(peak, 1),
                  train=about["train"], report=about["report"], workers=cores)  # fmt: skip
    record.finish()


if __name__ == "__main__":
    main()
