"""The live view: one screen that shows where a run stands. Calm, except for the cord."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tenth.cli import words
from tenth.cli.chart import ACCENT, ALARM, bar, curve, fit, heading, ink, segments, side_by_side, smoothed, spread
from tenth.cli.live.following import Following
from tenth.sanitise import plain

WIDEST, NARROWEST = 160, 40
TWO_COLUMNS = 100
"""From this width on, samples stand beside the figures."""
GAP = 3


class View:
    """Draws a Following at whatever size the console has."""

    def __init__(
        self, run: Following, *, keys: Sequence[tuple[str, str]] = (), labels: Mapping[str, str] | None = None
    ) -> None:
        """``keys``: (key, what it does), for the last line. ``labels``: person -> a word about them ("automatic")."""
        self.run, self.keys, self.labels = run, list(keys), dict(labels or {})
        self.notice = ""
        """A sentence below the state: what this shell, or the person at it, is doing."""
        self.alarm = False
        """The notice is about the cord."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        yield Text("\n").join(self.lines(min(options.max_width, WIDEST), height))

    def lines(self, width: int, height: int) -> list[Text]:
        """Exactly ``height`` lines of exactly ``width`` cells."""
        width = max(width, NARROWEST)
        inner = width - 2
        top, foot = self._top(inner), [self._foot()]
        room = max(0, height - len(top) - len(foot))
        body = self._wide(inner, room) if width >= TWO_COLUMNS and room >= 16 else self._narrow(inner, room)
        body = (body + [Text()] * room)[:room]
        return [Text(" ").append_text(fit(line, inner)).append(" ") for line in (top + body + foot)[:height]]

    # --- parts -------------------------------------------------------------------------------------------------------

    def _top(self, width: int) -> list[Text]:
        status = self.run.status
        if not status:
            return [Text("waiting for the supervisor", "dim")]
        halted = status["stance"] == "HALTED"
        name = ink("tenth ", "dim").append(plain(status["run"], limit=60), "bold")
        gate = f"gate {status['gate']} of {status['gates']}"
        if status["gates"] > self.run.gates_per_epoch:
            gate = f"{plain(status['phase'], limit=32)}, epoch {status['epoch']}, " + gate
        badge = ink(gate + "  ", "dim").append(
            f" {status['stance']} ", "bold white on #c62a2f" if halted else f"reverse {ACCENT}"
        )
        if name.cell_len + badge.cell_len + 1 > width:
            badge = badge[-len(status["stance"]) - 2 :]
        space = max(1, width - name.cell_len - badge.cell_len)
        progress = segments(self.run.done_in_epoch, self.run.gates_per_epoch, width, ALARM if halted else ACCENT)
        return [name.append(" " * space).append_text(badge), progress, self._sentence(), self._notice(width)]

    def _sentence(self) -> Text:
        """What is happening, in one line."""
        run, status = self.run, self.run.status
        match status["stance"]:
            case "HALTED":
                why = words.entry_words(run.halt) if run.halt else "stopped out of turn"
                return Text(f"HALTED  {why}", ALARM)
            case "RUNNING":
                text = Text(f"training tenth {status['gate'] + 1} of {status['gates']}")
                if status.get("unwatched"):
                    return Text("frozen: nobody of the charter watches", ACCENT)
                left = run.seconds_to_gate
                return text.append(f"   {words.duration(left)} to the next gate" if left is not None else "", ACCENT)
            case "GATE":
                waiting = words.names(status["waiting_for"])
                what = "release the model" if status["gate"] == status["gates"] else f"train tenth {status['gate'] + 1}"
                if status["waiting_for"]:
                    return Text(f"at gate {status['gate']}: waiting for {waiting} to consent", ACCENT)
                return Text(f"at gate {status['gate']}: everyone consents to {what}", ACCENT)
            case "GATHERING":
                return Text(f"gathering the evidence for gate {status['gate']}", ACCENT)
        ended = run.entries[-1] if run.entries else None
        return Text(f"closed: {words.entry_words(ended)}" if ended else "closed", ACCENT)

    def _wide(self, width: int, room: int) -> list[Text]:
        """Figures and curve beside the samples, the log below."""
        log_rows = max(5, min(12, room // 3))
        above = room - log_rows - 1
        left_width = min(74, (width - GAP) * 11 // 20)
        right_width = width - GAP - left_width
        figures = self._figures(left_width)
        left = [*self._loss(left_width, above - len(figures) - 1), Text(), *figures]
        right = self._samples(right_width, above)
        return [*side_by_side(left, right, left_width, right_width, GAP), Text(), *self._log(width, log_rows)]

    def _narrow(self, width: int, room: int) -> list[Text]:
        """One below the other; what does not fit is left out, figures last."""
        figures = self._figures(width)
        rest = room - len(figures)
        log_rows = min(6, max(0, rest // 3))
        loss_rows = min(9, max(0, rest - log_rows) // 2)
        sample_rows = rest - log_rows - loss_rows
        return [
            *(self._loss(width, loss_rows) if loss_rows >= 3 else []),
            *figures,
            *(self._samples(width, sample_rows) if sample_rows >= 3 else []),
            *(self._log(width, log_rows) if log_rows >= 2 else []),
        ]

    def _loss(self, width: int, height: int) -> list[Text]:
        """The curve of what the trainer claims, from the start of this watch to now."""
        values = smoothed(self.run.losses)
        if height < 2:
            return []
        now = f"about {values[-1]:.3f} now, claimed" if values else "claimed"
        title = heading("loss", width, now)
        if not values:
            return ([title, Text("no loss has been reported yet", "dim")] + [Text()] * height)[:height]
        low, high = spread(values)
        labels = [f"{high:.2f}", f"{low:.2f}"]
        margin = max(map(len, labels)) + 1
        drawn = curve(values, max(4, width - margin), height - 1)
        lines = [title]
        for row, dots in enumerate(drawn):
            label = labels[0] if row == 0 else labels[1] if row == len(drawn) - 1 else ""
            lines.append(ink(f"{label:>{margin - 1}} ", "dim").append(dots, ACCENT))
        return lines

    def _figures(self, width: int) -> list[Text]:
        run, status = self.run, self.run.status
        if not status:
            return []
        pace, left = run.tokens_per_second, run.seconds_to_gate
        step = run.progress.get("step")
        row = Text()
        for label, value in (
            ("tokens/s", f"{pace:,.0f}" if pace else "–"),
            ("next gate", f"in {words.duration(left)}" if left is not None else "–"),
            ("step", f"{step:,}" if step is not None else "–"),
        ):
            row.append(f"{label} ", "dim").append(f"{value:<12}")
        row.rstrip()
        return [row, *self._bars(width), self._people()]

    def _bars(self, width: int) -> list[Text]:
        """Spent against the ceiling."""
        lines, status = [], self.run.status
        for name, label, show in (
            ("device_seconds", "device-seconds", words.seconds),
            ("flop", "FLOP, at most", words.amount),
        ):
            spent, most = status["spent"][name], status["ceiling"][name]
            share = spent / most
            figures = f" {share:>4.0%}  {show(spent)} of {show(most)}"
            long = max(8, width - 16 - max(24, len(figures)))
            style = ALARM if share >= 0.95 else ACCENT
            lines.append(ink(f"{label:<15} ", "dim").append_text(bar(share, long, style)).append(figures))
        return lines

    def _people(self) -> Text:
        """Who has consented to what is on the table."""
        status = self.run.status
        text = ink("consent         ", "dim")
        for name in status["signatories"]:
            if name in status["objections"]:
                text.append(f"{name} objects", ALARM)
            elif name in status["consents"] or status["stance"] == "RUNNING":  # a lease is out: everyone consented
                text.append(f"✓ {name}", ACCENT)
            else:
                text.append(f"· {name}", "" if status["stance"] == "GATE" else "dim")
            text.append("  ")
        for label in sorted({self.labels[name] for name in status["signatories"] if name in self.labels}):
            those = [name for name in status["signatories"] if self.labels.get(name) == label]
            whom = f"all {label}" if len(those) == len(status["signatories"]) else f"{label}: {', '.join(those)}"
            text.append(f" {whom}", "dim")
        return text

    def _samples(self, width: int, height: int) -> list[Text]:
        """The newest texts of the model, through the sanitising exit (promise 10)."""
        if height < 2:
            return []
        lines = [heading("what it writes", width, "claimed, newest first")]
        for sample in self.run.samples:
            if len(lines) + 2 > height:
                break
            lines += sample_lines(sample, width, min(9, height - len(lines)))
        if not self.run.samples:
            lines.append(Text("no sample has come yet", "dim"))
        return (lines + [Text()] * height)[:height]

    def _log(self, width: int, height: int) -> list[Text]:
        """The last entries, in words."""
        lines = [heading("log", width, f"{self.run.status.get('entries', 0):,} entries, signed")]
        told = log_lines(self.run.entries)
        return ([*lines, *(told[-(height - 1) :] if height > 1 else [])] + [Text()] * height)[:height]

    def _notice(self, width: int) -> Text:
        return Text(plain(self.notice, limit=max(10, width)), ALARM if self.alarm else "bold")

    def _foot(self) -> Text:
        text = Text()
        for key, what in self.keys:
            cord = "cord" in what
            text.append(f" {key} ", "bold white on #c62a2f" if cord else "reverse")
            text.append(f" {what}   ", "" if cord else "dim")
        return text


def log_lines(entries: Iterable[words.Entry]) -> list[Text]:
    """Entries in words, oldest first; consents that follow one another stand in one line."""
    lines: list[Text] = []
    together: list[str] = []
    for entry in entries:
        start = ink(f"{words.clock(entry['time'])} {entry['index']:>5}  ", "dim")
        if entry["event"] == "consented":
            together.append(plain(words.signed(entry["body"].get("envelope")).get("signatory", "someone"), limit=40))
            if len(together) > 1:
                lines[-1] = start.append(f"{words.names(together)} consented", "default")
                continue
        else:
            together = []
        alarm = entry["event"] in ("pulled", "tripped", "objected")
        lines.append(start.append(words.entry_words(entry), ALARM if alarm else "default"))
    return lines


def sample_lines(sample: Mapping[str, Any], width: int, height: int) -> list[Text]:
    """One sample in at most ``height`` lines: where it is from, then prompt and continuation."""
    head = Text(f"step {sample['step']:,}, after gate {sample['gate']}", "dim")
    written = Text()
    prompt, text = (
        plain(sample["prompt"], lines=True, limit=500),
        plain(sample["text"], lines=True, limit=2_000).rstrip(),
    )
    written.append(prompt.expandtabs(4), "bold").append(text.expandtabs(4))
    lines = [head]
    for line in written.split("\n", allow_blank=True):
        if len(lines) == height:
            break
        line.truncate(width - 1, overflow="ellipsis")
        lines.append(ink("▏", ACCENT).append_text(line))
    return lines
