"""What of the table enters training? A batch: one view of it, in a file that a signed adjustment names by its digest.

Beside the rows lies a note of how much of the table they were made from. Whoever reviews makes the rows again from the
signed judgements, and sees whether they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tenth.encoding import canonical, decode, digest, is_digest, read_plain, write_durably
from tenth.errors import BadStatement, TenthError, WrongInput
from tenth.feedback.agreement import agreement
from tenth.feedback.events import Event
from tenth.feedback.table import Table
from tenth.feedback.views import VIEWS

KEY = "feedback.batches"
"""The recipe's key: a list of digests."""


@dataclass(frozen=True)
class Made:
    """From what a batch was made."""

    view: str
    least_gate: int
    """Samples of earlier tenths are left out: another model wrote them."""
    counts: Mapping[str, int]
    """Annotator -> how many of their events."""


def make(table: Table, made: Made) -> tuple[bytes, list[Event]]:
    """The bytes of the batch, and the judgements that it was made from."""
    events = [
        event
        for event in table.upto(made.counts)
        if event.event == "joined" or event.event == "undone" or _young(table, event, made.least_gate)
    ]
    rows = VIEWS[made.view](events, table.items)
    return b"".join(canonical(row) + b"\n" for row in rows), events


def _young(table: Table, event: Event, least_gate: int) -> bool:
    gate = table.items[event.subject].get("gate")
    return gate is None or gate >= least_gate


def write(table: Table, made: Made, *, dry_run: bool = False) -> tuple[str, str]:
    """Write the batch; returns its digest, and what it is in words. Raises WrongInput where no row follows."""
    data, events = make(table, made)
    if not data:
        raise WrongInput("no batch was made", f"no row of '{made.view}' follows from the judgements", "judge some more")
    name = digest(data)
    if not dry_run:
        write_durably(table.folder / f"{name}.jsonl", data)
        write_durably(table.folder / f"{name}.json", canonical(asdict(made)) + b"\n")
    return name, words(table, made, data, events)


def words(table: Table, made: Made, data: bytes, events: Sequence[Event]) -> str:
    """What a batch is, in one line."""
    rows, kind = data.count(b"\n"), "proposal" if made.view == "grades" else "pair"
    return f"{rows:,} row{'' if rows == 1 else 's'} of {made.view} from {agreement(events, table.items, kind).words()}"


def check(table: Table, name: str) -> str:
    """What a batch that a recipe names is, in words; made again from the table. Raises BadStatement if it differs."""
    try:
        if not is_digest(name) or digest(read_plain(table.folder / f"{name}.jsonl")) != name:
            raise BadStatement(f"the batch {name[:16]} is not what was signed", "its bytes have another digest")
        made = _made(decode(read_plain(table.folder / f"{name}.json")[:-1], "the note"))
    except (OSError, AttributeError, TypeError) as error:
        raise BadStatement(f"the batch {name[:16]} cannot be checked", str(error)[:200]) from None
    data, events = make(table, made)
    if digest(data) != name:
        raise BadStatement(f"the batch {name[:16]} does not follow from the judgements", "its rows are others")
    return words(table, made, data, events)


def _made(note: Any) -> Made:
    made = Made(**note)
    numbers = [made.least_gate, *made.counts.values()]
    if made.view not in VIEWS or not all(type(number) is int for number in numbers):
        raise TypeError("the note beside it says something else")
    return made


def of_recipe(recipe: Mapping[str, Any]) -> list[str]:
    """The digests that a recipe names."""
    found = recipe.get("feedback", {}).get("batches", []) if isinstance(recipe.get("feedback", {}), dict) else []
    return [str(one) for one in found] if isinstance(found, list) else []


def review(table: Table, recipe: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """For each batch of the recipe: does it hold, and what it is in words. Where there is none, nothing is read."""
    found: list[tuple[bool, str]] = []
    for one in of_recipe(recipe):
        try:
            if not table.folder.is_dir():
                raise WrongInput("the table of judgements is not here", "nothing of this batch was checked")
            table.update()
            found.append((True, f"batch {one[:16]}: {check(table, one)}"))
        except TenthError as error:
            found.append((False, f"batch {one[:16]}: {error}"))
    return found
