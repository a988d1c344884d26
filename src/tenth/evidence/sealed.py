"""What an evidence command is given, and how it answers: TENTH_SEALED in, JSON files in TENTH_OUT out."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenth.trainer.recipe import load_recipe

if TYPE_CHECKING:
    from tenth.trainer.held_out import Document
    from tenth.trainer.rows import Marked


class EvidenceError(Exception):
    """What was refused, what was found, what to do next."""

    def __init__(self, refused: str, found: str, do: str) -> None:
        super().__init__(f"{refused}\n  found: {found}\n  do: {do}")


@dataclass(frozen=True)
class Sealed:
    """The sealed input of one evidence run. Both checkpoints may be missing: gate 0 has none."""

    run: str
    gate: int
    checkpoint: Path | None
    previous: Path | None
    data: Path  # the listing in force
    root: Path
    recipe: Path
    work: Path
    prompts: tuple[str, ...]
    out: Path
    planted: Path | None = None  # in a drill: what the interval's text has in place of its own

    @property
    def folder(self) -> Path:
        """The run's: a panel writes into gates/03/evidence/NAME below it."""
        return self.out.parents[3]


def read_sealed(environment: Mapping[str, str] = os.environ) -> Sealed:
    """Raises EvidenceError unless a supervisor started us."""
    try:
        given = json.loads(Path(environment["TENTH_SEALED"]).read_text("utf-8"))
        return Sealed(
            run=str(given["run"]), gate=int(given["gate"]), checkpoint=_path(given["checkpoint"]),
            previous=_path(given["previous"]), data=_listing(Path(given["data"]), _path(given["checkpoint"])),
            root=Path(given["root"]),
            recipe=Path(given["recipe"]), work=Path(given["work"]), prompts=tuple(map(str, given["prompts"])),
            out=Path(environment["TENTH_OUT"]), planted=_path(given.get("planted")),
        )  # fmt: skip
    except (KeyError, OSError, ValueError, TypeError) as error:
        raise EvidenceError(
            "No evidence was made.", f"TENTH_SEALED and TENTH_OUT do not name sealed input: {error!r}",
            "name this command in the charter's [[evidence]]; the supervisor starts it",
        ) from error  # fmt: skip


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def _listing(data: Path, checkpoint: Path | None) -> Path:
    """The newest listing of the checkpoint's own phase: at a phase's last gate, `data` is the next one's."""
    try:
        phase = json.loads((checkpoint / "state.json").read_text("utf-8"))["phase"] if checkpoint else ""
    except (OSError, ValueError, KeyError):  # somebody else's trainer
        return data
    form = re.compile(rf"data\.{re.escape(str(phase))}(?:\.([0-9]+))?\.jsonl")
    named = [
        (int(match[1] or 1), path) for path in data.parent.glob("data.*.jsonl") if (match := form.fullmatch(path.name))
    ]
    return max(named)[1] if named else data


def log_of(sealed: Sealed) -> list[bytes]:
    """The lines of the run's log. Raises EvidenceError where it cannot be read."""
    try:
        return (sealed.folder / "log" / "entries.jsonl").read_bytes().splitlines()
    except (OSError, IndexError) as error:
        raise EvidenceError("No evidence was made.", f"no log: {error!r}", "let a supervisor start this") from error


def written_before(sealed: Sealed, file: str) -> Any:
    """The JSON that this panel wrote into `file` at the gate before, as that gate was sealed last; None without any.

    It stands in a dossier that everyone has consented to, so what was measured of `previous` there need not be again.
    """
    try:
        lines = log_of(sealed)
    except EvidenceError:
        return None
    for entry in map(json.loads, reversed(lines)):
        if entry["event"] == "sealed" and entry["body"]["gate"] == sealed.gate - 1:
            path = sealed.folder / entry["body"]["path"] / "evidence" / sealed.out.name / file
            return json.loads(path.read_text("utf-8")) if path.is_file() else None
    return None


def agreed_files(sealed: Sealed) -> list[Path]:
    """The run's recipes and listings of data, as given and as adjusted.

    By the log: a quarantine without namespaces lets nobody list the folder.
    """
    opened = json.loads(log_of(sealed)[0])["body"]
    found = []
    for name in [*opened["recipes"], *(f"data.{phase}.jsonl" for phase in opened["data"])]:
        stem, _, suffix = name.rpartition(".")
        later = (sealed.folder / f"{stem}.{number}.{suffix}" for number in itertools.count(2))
        found += [sealed.folder / name, *itertools.takewhile(Path.is_file, later)]
    return found


def held_out_texts(sealed: Sealed, checkpoint: Path, characters: int, documents: int) -> list[tuple[Document, str]]:
    """At most `documents` held-out documents, each cut to `characters`, in an order that no gate changes.

    Documents that were excluded meanwhile are left out.
    """
    from tenth.trainer import held_out  # here, since it brings torch: that takes longer than whole panels without it

    exclude = load_recipe(sealed.recipe).data.exclude
    return held_out.held_out_texts(checkpoint, sealed.data, sealed.root, exclude, characters, documents)


def held_out_answers(sealed: Sealed, checkpoint: Path, documents: int) -> list[tuple[Document, Marked]]:
    """After a phase of sft the same as training reads them: tokens doubled, plus one where they carry loss."""
    from tenth.trainer import held_out

    exclude = load_recipe(sealed.recipe).data.exclude
    return held_out.held_out_answers(checkpoint, sealed.data, sealed.root, exclude, documents)


def write(
    sealed: Sealed, headline: str, metrics: Mapping[str, float], details: Mapping[str, Any],
    tables: Sequence[Mapping[str, Any]] = (), *, surprised: bool = False,
) -> None:  # fmt: skip
    """summary.json, and one more file for each of `details`. `surprised`: a consent to this needs words."""
    for name, value in details.items():
        _dump(sealed.out / f"{name}.json", value)
    summary: dict[str, Any] = {"headline": headline, "metrics": dict(metrics)}
    if tables:
        summary["tables"] = list(tables)
    if surprised:
        summary["surprised"] = True
    _dump(sealed.out / "summary.json", summary)


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n", "utf-8")
