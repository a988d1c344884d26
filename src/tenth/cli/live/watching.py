"""``watch``: samples and figures as they come; one key pulls. And the keys and the cord that ``run`` shares with it."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from tenth.cli import pull
from tenth.cli.find import find_run
from tenth.cli.live.following import Following
from tenth.cli.live.screen import JsonShow, LineShow, LiveShow, Screen, Show, on_terminal
from tenth.cli.live.standing import status_lines
from tenth.cli.live.view import View
from tenth.cli.options import json_option, name_option, run_argument
from tenth.cli.outcome import DONE, STANCE_EXIT
from tenth.cli.wire import Message, Wire

KEYS = [("space", "pull the cord"), ("q", "leave")]


class Watch:
    """One person before one run: its messages, the view, and the cord in reach."""

    def __init__(
        self, run: str, name: str, *, as_json: bool = False, interrupted: Callable[[], None] | None = None,
        heard: Callable[[Message], None] | None = None,
    ) -> None:  # fmt: skip
        self.run, self.name = run, name
        self.following = Following()
        self.view = View(self.following, keys=KEYS)
        self.live = on_terminal() and not as_json
        show: Show = JsonShow() if as_json else LiveShow(self.view) if self.live else LineShow(self.following)
        self.keys: dict[str, Callable[[], None]] = {" ": self.cord, "p": self.cord, "q": self.leave}
        self.screen = Screen(Wire(run), self.following, show, keys=self.keys, interrupted=interrupted, heard=heard)
        self.left = False

    def follow(self) -> None:
        self.screen.follow(self.name)

    def leave(self) -> None:
        self.left = True
        self.screen.leave()

    def cord(self) -> None:
        """Pull, over a connection of its own, like 'tenth pull' from another shell."""
        text, _ = pull.stop(self.run, self.name)
        self.say(text if not self.live else "you pulled the cord", alarm=True)

    def say(self, text: str, *, alarm: bool = False) -> None:
        if self.live:
            self.view.notice, self.view.alarm = text, alarm
        else:
            click.echo(text, err=True)


@click.command("watch")
@run_argument
@name_option
@json_option
def watch_command(run: str | None, name: str | None, as_json: bool) -> int:
    """See samples and figures as they come. Space pulls the cord; q leaves.

    Where the charter says unwatched = "wait", the run trains only while one of its people watches: give the
    charter's name for you with --name.
    """
    path = find_run(run, quiet=as_json)
    watch = Watch(path, name or pull.user_name(), as_json=as_json, interrupted=lambda: watch.leave())
    watch.follow()
    return ended(watch, as_json=as_json)


def ended(watch: Watch, *, as_json: bool) -> int:
    """After the view: where the run stands, in a few lines that stay."""
    status = watch.following.status
    if not as_json and status:
        click.echo("\n".join(status_lines(status if watch.left else {**status, "supervisor": None})))
    if watch.left and status:
        click.echo(f"\n{os.path.basename(watch.run)} goes on without you: tenth watch, tenth pull", err=True)
        return DONE
    return STANCE_EXIT.get(status.get("stance", ""), DONE)
