"""The ledger on a terminal: a row for each tenth, two totals, and what they are held against."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tenth.cli import words
from tenth.cli.chart import ACCENT, ALARM, bar, heading, ink
from tenth.cli.record.accounts import AHEAD, CLASSES, EVIDENCE, OPEN, TRAINING, UNDONE, Row
from tenth.cli.record.regulatory import COUNTED, MARGIN, Amount, thresholds, verdict
from tenth.sanitise import plain

if TYPE_CHECKING:
    from tenth.cli.record.ledgering import Ledger

WIDTH = 100
MOST_ROWS = 40
"""Above so many tenths a row stands for an epoch."""
VERDICTS = {
    "below": ("✓", ACCENT, "out of reach"),
    "claimed below": ("•", "", "out of reach, if the trainer counts right"),
    "unknown": ("?", "", "cannot be said: nothing was measured or claimed"),
    "not below": ("✗", ALARM, "reached, or within 30 % of it"),
}


def show(found: Ledger) -> None:
    columns = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    Console(width=max(72, columns), highlight=False).print(page(found, max(72, columns)))


def page(found: Ledger, width: int) -> Group:
    history = found.found.history
    until = found.found.log.entries[-1].time
    title = Text(f"{plain(history.run, limit=60)}", "bold")
    title.append(f"   gate {history.state.gate} of {history.state.gates}, {history.state.stance}", "not bold")
    title.append(f"   until {until[:10]} {until[11:19]} UTC", "dim not bold")
    return Group(
        title,
        Text(),
        tenths(found),
        Text(),
        heading("Gross: everything that was charged", width, "by the meter"),
        *gross(found),
        Text(),
        heading("Regulatory: what counts", width, "by C(2025) 7719, annex"),
        *counted(found),
    )


def tenths(found: Ledger) -> Table:
    """Device-seconds by class, FLOP by measure and by claim, for each tenth."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_footer=True)
    kinds = [kind for kind in (TRAINING, OPEN, UNDONE, EVIDENCE, AHEAD) if found.seconds(kind)]
    table.add_column("", footer=Text("all", "bold"))
    for kind in kinds or [TRAINING]:
        sums = _seconds(found.seconds(kind))
        table.add_column(_HEADERS[kind], justify="right", footer=Text(sums, "bold"))
    total = found.gross
    for title, value in (("FLOP at most", total.at_most), ("claimed", total.claimed)):
        table.add_column(title, justify="right", footer=Text(_amount(value), "bold"))
    table.add_column("", footer=_share(total))
    where = ""
    for label, rows in _groups(found):
        if label and (where != (where := _place(rows[0]))):
            table.add_row(Text(where, "dim"))
        seconds = [sum(row.device_seconds for row in rows if row.kind == kind) for kind in kinds or [TRAINING]]
        one = _sum(rows, found.peak)
        cells = [
            Text(_seconds(value) if value else "", _STYLES[kind]) for kind, value in zip(kinds, seconds, strict=False)
        ]
        table.add_row(
            f"  {label}" if label else _place(rows[0]), *cells, _amount(one.at_most), _amount(one.claimed), _share(one)
        )
    return table


_HEADERS = {
    TRAINING: "training",
    OPEN: "under way",
    UNDONE: "thrown away",
    EVIDENCE: "evidence",
    AHEAD: "charged ahead",
}
_STYLES = {TRAINING: ACCENT, OPEN: "", UNDONE: "#d6a03c", EVIDENCE: "", AHEAD: "#d6a03c"}


def _groups(found: Ledger) -> Iterable[tuple[str, Sequence[Row]]]:
    """A label and its rows: by tenth; or by epoch where there are many, without a label."""
    many = len({row.tenth for row in found.rows}) > MOST_ROWS
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in found.rows:
        groups.setdefault((_place(row), 0 if many else row.tenth), []).append(row)
    return [("" if many else f"tenth {tenth}" if tenth else "gate 0", rows) for (_, tenth), rows in groups.items()]


def _place(row: Row) -> str:
    return plain(f"{row.phase}, epoch {row.epoch}", limit=48)


def _sum(rows: Sequence[Row], peak: float | None) -> Amount:
    claims = [row.flop_claimed for row in rows if row.flop_claimed is not None]
    at_most = None if peak is None else sum(row.device_seconds for row in rows) * peak
    return Amount(at_most, sum(claims) if claims else None)


def _share(one: Amount) -> Text:
    """How much of what was possible the trainer says it did."""
    if not one.at_most or one.claimed is None:
        return Text("")
    share = one.claimed / one.at_most
    return Text(f"{share:.0%}" if share >= 0.005 else "<1%", "dim" if share <= 1 else ALARM)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else words.seconds(value)


def _amount(value: float | None) -> str:
    return "–" if value is None else words.amount(value)


def gross(found: Ledger) -> list[RenderableType]:
    state = found.found.history.state
    flop_title = "FLOP, at most" if found.peak is not None else "FLOP, as claimed"
    table = Table.grid(padding=(0, 2))
    for title, spent, most in (
        ("device-seconds", state.spent.device_seconds, state.ceiling.device_seconds),
        (flop_title, state.spent.flop, state.ceiling.flop),
    ):
        share = spent / most
        style = ALARM if share > 0.9 else ACCENT
        label = f"{words.amount(spent)} of {words.amount(most)}"
        table.add_row(f"  {title}", Text(label), bar(share, 24, style), ink(f"{share:.1%}", "dim"))
    peak = "" if found.peak is None else f"one device-second is at most {words.amount(found.peak)} FLOP"
    how = "; ".join(filter(None, (peak, plain(found.peak_how, limit=80))))
    return [table, ink(f"  {how}", "dim")]


def counted(found: Ledger) -> list[RenderableType]:
    one, lines = found.counted, Table.grid(padding=(0, 2))
    lines.add_row("  FLOP, at most", _amount(one.at_most))
    margin = ""
    if one.claimed is not None:
        margin = (
            f"   (± 30 %: {words.amount(one.claimed * (1 - MARGIN))} to {words.amount(one.claimed * (1 + MARGIN))})"
        )
    lines.add_row("  FLOP, as claimed", f"{_amount(one.claimed)}{margin}")
    if found.declared.synthetic:
        lines.add_row(
            "  of these declared", f"{words.amount(found.declared.synthetic)} for synthetic data made outside"
        )
    left_out = [f"{_HEADERS[kind]} ({_seconds(found.seconds(kind))} s)" for kind in CLASSES if _left_out(found, kind)]
    checks = Table.grid(padding=(0, 2, 0, 0))
    for name, limit in thresholds(found.declared).items():
        mark, style, word = VERDICTS[verdict(one, limit)]
        checks.add_row(
            ink(f"  {mark} ", style).append(f"{words.amount(limit)} FLOP"), Text(word, style), Text(name, "dim")
        )
    left = [ink(f"  not counted: {', '.join(left_out)}", "dim")] if left_out else []
    note = ink("  what counts, and what was assumed: docs/ledger.md, or --json", "dim")
    return [lines, checks, *left, note]


def _left_out(found: Ledger, kind: str) -> bool:
    return kind not in COUNTED and found.seconds(kind) > 0
