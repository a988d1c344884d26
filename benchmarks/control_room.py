"""Is the control room fast and light enough: the cord under load, the pages, the stream, and what training pays for it?

A real server, a real headless Chromium, a real supervisor. The cord is timed from the press, as the browser dates it,
to the last step of any of the trainer's five processes, with ten tabs open and a thousand samples a second streaming.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from live import DEMO_ENV, Live, back_ends, wait_for
from pulled import begin, go_on
from record import Record, options, processor_seconds, spread, workplace

from tenth.log.entry import timestamp
from tenth.log.store import LogWriter
from tenth.supervisor.rundir import RunDir

TABS, STREAMED, SHOWN = 10, 1_000, 600
"""Tabs; samples a second for the cord, and for the long look."""
ENTRIES, SAMPLES = 100_000, 50_000
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
TENTH = str(Path(sys.executable).with_name("tenth"))
CHATTER = ["python3", "code/chatter.py"]

Json = Any


class Room:
    """``tenth serve`` over one run, and a browser that is signed in."""

    def __init__(self, run: Live, folder: Path, port: int) -> None:
        self.origin, self.run = f"http://localhost:{port}", run
        words = [sys.executable, "-m", "tenth.cli", "serve", str(run.path.parent), "--port", str(port), "--json"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, "TENTH_HOME": str(folder)}
        )
        assert self.process.stdout is not None
        self.link = json.loads(self.process.stdout.readline())["link"]
        for one in (port, port + 1):
            run_until(partial(_listens, one), "the control room to listen")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def pids(self) -> list[int]:
        """The pages' process and the cord's."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        every = {int(word) for one in threads for word in (one / "children").read_text().split()}
        return [self.process.pid, *sorted(every | set(map(int, children)))]


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def run_until(found: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Looked for less often than a supervisor's answers: to ask a page takes processor time."""
    return wait_for(found, what, seconds, pause=0.02)


def free_port() -> int:
    for port in range(21_000 + os.getpid() % 20_000, 60_000, 2):
        if not _listens(port) and not _listens(port + 1):
            return port
    raise SystemExit("no two ports are free")


@contextlib.contextmanager
def opened(run: Live, folder: Path) -> Iterator[tuple[Room, Any]]:
    """A server over ``run``, and a browser context that is signed in."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("there is no Chromium: apt-get install chromium-headless-shell")
    room = Room(run, folder / "home", free_port())
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            page.goto(room.link)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{room.origin}/")
            page.close()
            yield room, context
            browser.close()
    finally:
        room.close()


# --- the cord --------------------------------------------------------------------------------------------------------


def cord(times: int) -> dict[str, list[float]]:
    """Milliseconds from the press in the browser to the last step of any process, and to the answer on the page."""
    found: dict[str, list[float]] = {
        "stopped": [],
        "shown": [],
        "heard": [],
        "supervisor": [],
        "killed": [],
        "shell": [],
    }
    env = {"PER_SECOND": str(STREAMED)}
    with workplace() as folder, Live(folder, CHATTER, env, back_end=back_ends()[0], samples_per_minute=1e6) as run:
        clock = begin(run)
        with opened(run, folder) as (room, context):
            tabs = [context.new_page() for _ in range(TABS)]
            for tab in tabs:
                tab.goto(f"{room.origin}/r/{run.path.name}", wait_until="commit")
            for tab in tabs:
                run_until(partial(_seen, tab), "the samples to come")
            for number in range(times):
                tab = tabs[number % TABS]
                run_until(partial(_there, tab, ".cord[data-live=true]"), "a live cord", 150)
                time.sleep(random.uniform(0.2, 0.6))
                since = run.status()["entries"]
                tab.evaluate("delete document.querySelector('#cord').dataset.took")
                tab.evaluate("document.querySelector('.pull').click()") if number % 2 else tab.keyboard.press("p")
                run_until(partial(_there, tab, "#cord[data-took]"), "the cord to answer")
                last = clock.read()
                time.sleep(0.03)
                if clock.read() != last:
                    raise SystemExit("a process of the trainer ran on after the answer")
                line = _first_line(run, b'"event":"pulled"', since)
                asked = float(tab.locator("#cord").get_attribute("data-pressed"))
                stopped = max(last) / 1e6 - (time.monotonic() - time.time()) * 1000 - asked
                found["stopped"].append(round(max(0.0, stopped), 2))
                found["shown"].append(float(tab.locator("#cord").get_attribute("data-took")))
                found["heard"].append(float(tab.locator("#cord").get_attribute("data-heard")))
                if line is None:  # so busy a machine that the supervisor was killed instead: it stopped, and is over
                    found["killed"].append(number)
                    break
                found["supervisor"].append(json.loads(line)["body"]["stopped_ms"])
                go_on(run, clock, last)
                began = time.monotonic_ns()
                subprocess.run([TENTH, "pull", str(run.path), "--json"], capture_output=True, check=True)
                last = clock.read()
                found["shell"].append(round(max(0, max(last) - began) / 1e6, 2))
                go_on(run, clock, last)
    return found


def _there(tab: Any, selector: str) -> bool:
    return bool(tab.locator(selector).count())


def _seen(tab: Any) -> int:
    return int(tab.evaluate("Number(document.querySelector('#samples-count')?.dataset.seen ?? 0)"))


def _first_line(run: Live, mark: bytes, since: int) -> bytes | None:
    """The first line with this mark after so many."""
    lines = (run.path / "log" / "entries.jsonl").read_bytes().splitlines()[since:]
    return next((line for line in lines if mark in line), None)


# --- weight, and the gate page of a long run -------------------------------------------------------------------------


def weight(room: Room, context: Any) -> dict[str, int]:
    """Bytes of every page and of all that pages load, compressed as they are sent."""
    run, sizes = room.run.path.name, {}
    page = context.new_page()

    def heard(answer: Any) -> None:
        url = re.sub(r"^https?://[^/]+", "", answer.url)
        if answer.status == 200 and not url.startswith(("/api/", "/events", "/cord/")):
            with contextlib.suppress(Exception):
                sizes[url] = len(gzip.compress(answer.body(), 6))

    page.on("response", heard)
    for path in ("/", f"/r/{run}", f"/r/{run}/gate", f"/r/{run}/log", "/person"):
        page.goto(room.origin + path)
        page.wait_for_timeout(1_000)
    for name in re.findall(r'data-worker="([^"]+)"', page.content()):
        worker = context.request.get(room.origin + name)
        sizes[name] = len(gzip.compress(worker.body(), 6))
    page.close()
    return sizes


def pad(run: Live) -> None:
    """Make the log and the samples of a stopped run as long as those of a month's run."""
    held = RunDir.find(run.path)
    log = LogWriter(run.path / "log", run.path.name, held.key())
    spent = {"device_seconds": 1.0, "flop": 1.0}
    claims = {"step": 1, "tokens": 1, "flop": 1, "loss": 2.5, "metrics": {"lr": 0.001, "grad_norm": 0.4}}
    left = ENTRIES - len(log.entries)
    while left > 0:
        many = min(left, 2_000)
        rows = [
            ("metered", {"spent": spent, "reserved_device_seconds": 2.0, "claims": {**claims, "step": left - n}})
            for n in range(many)
        ]
        log.append(*rows)
        left -= many
    log.close()
    names = sorted((run.path / "samples").glob("*.jsonl"))
    made, number = sum(path.read_bytes().count(b"\n") for path in names), len(names)
    text = "    return self.value if self.value is not None else default\n" * 4
    while made < SAMPLES:
        number += 1
        sample = {"gate": 0, "prompt": "def ", "temperature": 1, "time": timestamp(0)}
        shown = [{**sample, "step": made + n, "text": f"{text}{n}"} for n in range(200)]
        path = run.path / "samples" / f"{number:06d}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in shown))
        made += 200


def long_run(times: int) -> dict[str, Json]:
    """Weight of the pages; milliseconds to the first paint of the gate page, which is the dossier; seconds to index."""
    with (
        workplace() as folder,
        Live(
            folder, CHATTER, {"PER_SECOND": "50"}, back_end=back_ends()[0], samples_per_minute=1e6, evidence=("panel",)
        ) as run,
    ):
        run.start().until("GATE")
        run.stop()
        pad(run)
        (run.path / "index.sqlite").unlink(missing_ok=True)
        with opened(run, folder) as (room, context):
            began, page = time.monotonic(), context.new_page()
            cold = _paint(page, room)
            run_until(lambda: _indexed(context, room), "the index", 300)
            indexed = time.monotonic() - began
            warm = [_paint(page, room) for _ in range(times)]
            sizes = weight(room, context)
    return {"cold": cold, "indexed": indexed, "paint": warm, "sizes": sizes}


def _paint(page: Any, room: Room) -> float:
    page.goto(f"{room.origin}/r/{room.run.path.name}/gate")
    page.locator("#changes").wait_for()
    script = "performance.getEntriesByType('paint').find((e) => e.name === 'first-contentful-paint')?.startTime"
    return float(run_until(lambda: page.evaluate(script), "the first paint"))


def _indexed(context: Any, room: Room) -> bool:
    name = room.run.path.name
    found = context.request.get(f"{room.origin}/api/r/{name}/samples?most=1").json()
    rows = context.request.get(f"{room.origin}/api/r/{name}/entries").json()
    return bool(found and found[0]["seq"] >= SAMPLES and rows and rows[0]["idx"] >= ENTRIES - 1)


# --- the long look ---------------------------------------------------------------------------------------------------


def look(seconds: float) -> dict[str, Json]:
    """Samples shown a second over ``seconds``, those lost, the longest standstill, and the memory as it goes."""
    env = {"PER_SECOND": str(SHOWN)}
    with workplace() as folder, Live(folder, CHATTER, env, back_end=back_ends()[0], samples_per_minute=1e6) as run:
        begin(run)
        with opened(run, folder) as (room, context):
            page = context.new_page()
            page.goto(f"{room.origin}/r/{run.path.name}")
            run_until(partial(_seen, page), "the samples to come")
            session = context.new_cdp_session(page)
            page.evaluate(
                """window.still = 0; let last = performance.now();
                const tick = (now) => {
                    window.still = Math.max(window.still, now - last);
                    last = now;
                    requestAnimationFrame(tick);
                };
                requestAnimationFrame(tick);"""
            )
            time.sleep(min(15.0, seconds / 4))
            memory, began, first = [_memory(session, room)], time.monotonic(), _counted(page)
            page.evaluate("window.still = 0")
            while time.monotonic() - began < seconds:
                time.sleep(min(15.0, seconds / 8))
                memory.append(_memory(session, room))
            took, last = time.monotonic() - began, _counted(page)
            still = page.evaluate("window.still")
    many = last["seen"] - first["seen"]
    lost = last["last"] - first["last"] - many
    return {"shown": many / took, "lost": lost, "still": still, "memory": memory, "seconds": took}


def _counted(page: Any) -> dict[str, int]:
    node = page.locator("#samples-count")
    return {"seen": int(node.get_attribute("data-seen")), "last": int(re.sub(r"\D", "", node.inner_text()))}


def _memory(session: Any, room: Room) -> dict[str, float]:
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    pages = Path(f"/proc/{room.process.pid}/statm").read_text().split()[1]
    return {
        "page_mb": round(found["JSHeapUsedSize"] / 1e6, 2), "nodes": found["Nodes"],
        "server_mb": round(int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
    }  # fmt: skip


# --- what training pays ----------------------------------------------------------------------------------------------


def price(seconds: float) -> dict[str, float]:
    """Shares of all processors that the control room takes while the demo's model trains and a page is open."""
    with workplace() as folder, Live(
        folder, ["tenth-trainer", "pretrain", "recipe.toml"], DEMO_ENV, every=10, back_end=back_ends()[0],
        standard_library={"test", "tests", "site-packages", "dist-packages", "ensurepip", "idlelib", "lib2to3"},
    ) as run:  # fmt: skip
        run.start().consent()
        run.wait(lambda: run.status()["claims"].get("step", 0) > 3, "the trainer to train")
        with opened(run, folder) as (room, context):
            page = context.new_page()
            page.goto(f"{room.origin}/r/{run.path.name}")
            page.locator(".sample").first.wait_for(timeout=120_000)
            time.sleep(5)
            pids = room.pids()
            before, began = [sum(processor_seconds(pid)) for pid in pids], time.monotonic()
            time.sleep(seconds)
            after, took = [sum(processor_seconds(pid)) for pid in pids], time.monotonic() - began
    shares = [(b - a) / took / (os.cpu_count() or 1) for a, b in zip(before, after, strict=True)]
    return {"pages": shares[0], "cord": sum(shares[1:]), "seconds": took}


def main() -> None:
    chosen = options(
        __doc__, n=(60, "pulls through the page"), paints=(20, "times that the gate page is opened"),
        seconds=(300, "of the long look"), trained=(60, "seconds of training beside an open page"),
    )  # fmt: skip
    record = Record("control_room", (__doc__ or "").partition("\n")[0], chosen)
    for part in (_pages, _training, _cord, _stream):
        try:
            part(record, chosen)
        except SystemExit as error:  # on a machine too busy for one part, the others are kept; its figures are missing
            record.detail(**{f"failed{part.__name__}": str(error)[:300]})
    record.finish()


def _cord(record: Record, chosen: Any) -> None:
    pulls = cord(chosen.n)
    what = f"cord pressed in the browser, {TABS} tabs, {STREAMED:,} samples/s, to every process stopped"
    record.figure(what, "ms", spread(pulls["stopped"], 1), {"p99": ("<=", 250.0)})
    record.figure("the same, to the time shown on the page", "ms", spread(pulls["shown"], 1))
    if pulls["shell"]:
        what = "`tenth pull` from a shell to every process stopped, in turns with it"
        record.figure(what, "ms", spread(pulls["shell"], 1))
    record.figure("of the press, until the page's own script heard of it", "ms", spread(pulls["heard"], 1))
    record.detail(pulls=pulls)


def _pages(record: Record, chosen: Any) -> None:
    far = long_run(chosen.paints)
    total = {"total": round(sum(far["sizes"].values()) / 1000, 1)}
    record.figure("all pages and what they load, gzip", "kB", total, {"total": ("<=", 100.0)})
    what = f"gate page, first paint of the dossier ({ENTRIES:,} entries, {SAMPLES:,} samples)"
    record.figure(what, "ms", spread(far["paint"], 1), {"max": ("<=", 1000.0)})
    record.figure("the same, just after the server began, with no index yet", "ms", {"value": round(far["cold"], 1)})
    record.figure("that index, made anew", "s", {"value": round(far["indexed"], 1)})
    record.detail(sizes=far["sizes"], paint=far["paint"])


def _stream(record: Record, chosen: Any) -> None:
    seen = look(chosen.seconds)
    mean = {"mean": round(seen["shown"], 1)}
    record.figure(f"samples shown, over {seen['seconds']:.0f} s", "1/s", mean, {"mean": (">=", 500.0)})
    record.figure("of these lost", "samples", {"count": seen["lost"]}, {"count": ("<=", 0)})
    record.figure("longest time without a frame meanwhile", "ms", {"max": round(seen["still"], 0)})
    heaps = [one["page_mb"] for one in seen["memory"]]
    ends = {"first": heaps[0], "last": heaps[-1], "max": max(heaps)}
    record.figure("memory of the page's scripts", "MB", ends)
    servers = [one["server_mb"] for one in seen["memory"]]
    record.figure("memory of the pages server", "MB", {"first": servers[0], "last": servers[-1]})
    record.detail(memory=seen["memory"])


def _training(record: Record, chosen: Any) -> None:
    paid = price(chosen.trained)
    share = {"share": round(100 * (paid["pages"] + paid["cord"]), 2)}
    what = "share of all processors that the control room takes while training, a page open"
    record.figure(what, "%", share, {"share": ("<=", 1.0)})
    record.detail(price=paid)


if __name__ == "__main__":
    main()
