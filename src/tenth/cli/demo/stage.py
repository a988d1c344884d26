"""The demo played: a run with its supervisor, the live view, automatic people, and what is said at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from tenth.cli import pull, words
from tenth.cli.begin import holding
from tenth.cli.demo.cast import Cast, labels, speak
from tenth.cli.demo.folder import YOU, Plan, prepare, signing_key
from tenth.cli.find import is_live, runs_under
from tenth.cli.gate.reviewing import opened, show
from tenth.cli.live.watching import KEYS, Watch
from tenth.cli.model.writer import Model, Writer
from tenth.cli.outcome import DONE, HALTED, emit
from tenth.cli.record import auditing
from tenth.cli.replay import audit, replay
from tenth.cli.wire import Message
from tenth.errors import RunRefused, WrongInput
from tenth.sanitise import plain

DECIDE = [("c", "consent"), ("o", "object"), ("r", "review")]


class Stage:
    """One performance."""

    def __init__(self, plan: Plan, *, as_json: bool = False) -> None:
        self.plan, self.as_json = plan, as_json
        self.began = time.monotonic()
        self.run = Path()
        self._recorded: list[tuple[float, Message]] = []
        self._strikes = 0

    def play(self) -> tuple[int, Path]:
        """Returns (exit code, run directory)."""
        plan = self.plan
        for live in filter(is_live, runs_under(str(plan.runs))):
            raise RunRefused("the demo was not begun", f"{live} is still held by a supervisor", f"tenth watch {live}")
        documents = prepare(plan)
        os.environ["TENTH_HOME"] = str(plan.home)  # so that the supervisor hides the keys from the trainer
        self.run = holding.open_run(plan.project / "charter.toml", plan.runs)
        people = ", ".join(f"{name} (automatic)" for name in plan.automatic)
        self._echo(
            f"{self.run.name}: {documents} source files, signatories {people}"
            + (" and you" if plan.interactive else "")
        )
        self.process = holding.start(self.run)
        for number in (signal.SIGTERM, signal.SIGHUP):  # a closed window ends the demo, and its supervisor with it
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        try:
            self._watch()
        finally:
            if self.process.poll() is None and not self._closed():
                holding.dismiss(self.process.pid)
                self.process.wait(timeout=60)
            self._keep_recording()
        if not self._closed():
            status = self.watch.following.status
            self._echo(f"{self.run.name} was left, {status.get('stance', '?')} after gate {status.get('gate', '?')}.")
            self._echo(f"It lies in {self.run}; to go on by hand: TENTH_HOME={plan.home} tenth run {self.run}")
            return HALTED, self.run
        return self._end(), self.run

    def _echo(self, text: str = "", *, bold: bool = False, nl: bool = True) -> None:
        """For people; with --json on standard error."""
        click.secho(text, bold=bold, nl=nl, err=self.as_json)

    # --- while it runs -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        plan = self.plan
        name = YOU if plan.interactive else pull.user_name()
        self.watch = watch = Watch(
            str(self.run), name, as_json=self.as_json, heard=self._heard, interrupted=self._interrupted
        )
        watch.view.labels = labels(plan.automatic)
        watch.view.keys = [*(DECIDE if plan.interactive else []), *KEYS]
        watch.keys.update({"c": self._consent, "o": self._object, "r": self._review} if plan.interactive else {})
        keys = {name: signing_key(plan, name) for name in plan.automatic}
        self.cast = Cast(
            self.run, watch.following, keys, plan.watcher, say=self._say,
            read_seconds=plan.read_seconds, halt_seconds=plan.halt_seconds, before=plan.before,
        )  # fmt: skip
        try:
            watch.follow()
        finally:
            self.cast.close()
        if self.cast.failure:
            raise self.cast.failure

    def _heard(self, message: Message) -> None:
        if self.plan.record:
            self._recorded.append((round(time.monotonic() - self.began, 3), message))
        self.cast.heard(message)
        if self.cast.failure:
            self.watch.leave()
        if self.plan.interactive:
            self._prompt()

    def _say(self, text: str) -> None:
        self.watch.view.notice, self.watch.view.alarm = text, "cord" in text

    def _interrupted(self) -> None:
        self._strikes += 1
        if self._strikes == 1:
            self.watch.cord()
        else:
            self.watch.leave()

    def _closed(self) -> bool:
        return hasattr(self, "watch") and self.watch.following.stance == "CLOSED"

    # --- you ---------------------------------------------------------------------------------------------------------

    def _prompt(self) -> None:
        status = self.watch.following.status
        if status.get("stance") == "GATE" and YOU in status["waiting_for"] and not status["objections"]:
            text = f"gate {status['gate']} waits for you: r reads the dossier, c consents, o objects"
            if self.watch.live:
                self._say(text)

    def _consent(self) -> None:
        self._sign("consented")

    def _object(self) -> None:
        self._sign("objected")

    def _sign(self, event: str) -> None:
        try:
            speak(self.run, event, YOU, signing_key(self.plan, YOU))
            self._say("you consented" if event == "consented" else "you objected: nothing starts until you consent (c)")
        except WrongInput as error:
            self._say(str(error.found or error.refused))

    def _review(self) -> None:
        with self.watch.screen.aside():
            try:
                with opened(str(self.run)) as (found, checked):
                    show(found, checked)
            except WrongInput as error:
                self._echo(str(error))
            click.prompt("\nEnter goes back", default="", show_default=False, prompt_suffix="")

    # --- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> int:
        """The result of verify, three completions, where it lies, and what to try next."""
        report = audit(self.run)
        entries = replay(self.run).log.entries
        kinds = [entry.event for entry in entries]
        took = words.duration(time.monotonic() - self.began)
        self._echo(f"\nTrained under the whole law in {took}: ", bold=True, nl=False)
        consents = words.count(kinds.count("consented"), "consent")
        pulls = words.count(kinds.count("pulled"), "pull")
        self._echo(f"{words.count(report.gate, 'tenth')}, {consents}, {pulls} of the cord.")
        self._echo("\ntenth verify", bold=True)
        for line in auditing.lines(report):
            self._echo(words.hanging(f"  {line}", _columns()))
        if self.plan.ending:
            self.plan.ending(self.run, self._echo)
        if self.plan.completions:
            self._echo("\nThree completions, by the last checkpoint, written in the sandbox", bold=True)
            self._completions()
        self._echo("\nWhere it lies, and what to try next", bold=True)
        self._echo(NEXT.format(cd=f"cd {_shown(self.plan.folder)}"))
        if self.as_json:
            seconds = round(time.monotonic() - self.began, 1)
            emit({"demo": {"path": str(self.run), "seconds": seconds, **auditing.record(report)}})
        return DONE

    def _completions(self) -> None:
        try:
            with Writer(Model(str(self.run), None, quiet=True)) as writer:
                how = {"tokens": 48, "temperature": 0.5, "top_k": 50, "top_p": 1.0, "seed": 0, "stop": []}
                done = writer.ask({"prompts": list(self.plan.completions), **how}, lambda _row, _piece: None)
            for prompt, text in zip(self.plan.completions, done["texts"], strict=True):
                for line in plain(prompt + text, lines=True, limit=1_200).expandtabs(4).splitlines()[:8]:
                    self._echo(f"  │ {line[: _columns() - 5]}")
                self._echo()
        except WrongInput as error:
            self._echo(f"  none: {error}")

    def _keep_recording(self) -> None:
        if self.plan.record:
            with self.plan.record.open("w") as file:
                file.writelines(json.dumps([now, message]) + "\n" for now, message in self._recorded)


NEXT = """\
  {cd:<37} everything is in here
  tenth verify                          replay log, law and signatures again
  tenth review                          the last dossier, in plain words
  tenth generate --prompt 'def main('   write code with the last checkpoint
  tenth export -o pack.zip              what an auditor gets
  tenth demo --folder . --tamper        forge the record, and see it caught
  tenth demo --folder . --interactive   be one of the signatories"""


def _columns() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def _shown(folder: Path) -> str:
    """As short as it can be typed."""
    relative: Any = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else str(relative)


def play(plan: Plan, *, as_json: bool = False) -> tuple[int, Path]:
    return Stage(plan, as_json=as_json).play()
