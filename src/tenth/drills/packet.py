"""Is this gate drilled, and how does the drill's packet look in the place of the gate's own evidence?

`tenth-evidence drill` has written the packet before the dossier was sealed, and the dossier has its digest. What people
are shown, and sign, is a dossier that differs from the gate's in evidence and checkpoint: another digest, so that the
law accepts no consent to it (promise 9).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tenth.encoding import canonical, digest, is_digest
from tenth.errors import TenthError, Unlawful
from tenth.gate.sealing import finish, folder_digest, surprised
from tenth.gate.statement import Subjects, subjects_of
from tenth.sanitise import plain

PACKET, KEY = "packet", "key.json"
"""In the folder of the panel, as tenth.evidence.drilling.drill writes them."""


@dataclass(frozen=True)
class Drill:
    """The drill of one dossier."""

    run: Path
    folder: Path
    """Of the panel."""
    packet: str
    """Digest of that folder, in the gate's dossier: what a drill is known by, also when the gate is sealed again."""
    planted: str
    """What was planted, in words; from a file, so sanitised."""
    dossier: Mapping[str, Any]
    """What is shown in the place of the gate's."""

    @property
    def gate(self) -> int:
        return int(self.dossier["gate"])

    @cached_property
    def digest(self) -> str:
        return digest(canonical(self.dossier))

    @property
    def subjects(self) -> Subjects:
        """What an answer covers."""
        return subjects_of(self.digest, self.dossier)

    @property
    def surprised(self) -> bool:
        return any(row["surprised"] for row in self.dossier["evidence"])

    def judge(self, event: str, note: str) -> None:
        """Raises Unlawful where the law would refuse this answer to a gate with such evidence."""
        if self.surprised and event == "consented" and not note.strip():
            found = "this gate is surprised, so a consent needs a note that says why it is right to go on"
            raise Unlawful("'consented' is refused", found, "read the dossier ('tenth review'), then consent or object")

    @contextmanager
    def laid_out(self) -> Iterator[Path]:
        """A folder like the run's with the packet in the place of this gate's evidence. All links; gone afterwards."""
        sealed = self.folder.parents[1]
        with tempfile.TemporaryDirectory(prefix="tenth-") as place:
            run = Path(place) / self.run.name
            (run / "gates" / sealed.name).mkdir(parents=True)
            for folder, besides in ((self.run, "gates"), (self.run / "gates", sealed.name), (sealed, "evidence")):
                for one in folder.iterdir():
                    if one.name != besides:
                        (run / one.relative_to(self.run)).symlink_to(one)
            (run / "gates" / sealed.name / "evidence").symlink_to(self.folder / PACKET)
            yield run


def find(run: Path, dossier: Mapping[str, Any] | None) -> Drill | None:
    """The drill of this dossier of the run. None if it has none, or one that cannot be shown: then it has its gate."""
    for row in (dossier or {"evidence": []})["evidence"]:
        folder = run / row["path"]
        try:
            key = json.loads((folder / KEY).read_bytes())
            if key["drill"] == 1 and is_digest(key["shadow"]):
                found = Drill(run, folder, row["digest"], _words(key), _dossier(folder, dossier or {}, key))
                return found if found.digest else None  # a number in it may have no canonical form
        except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, TenthError):
            continue
    return None


def _dossier(folder: Path, dossier: Mapping[str, Any], key: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for row in dossier["evidence"]:
        shown = folder / PACKET / row["name"]
        found = {"digest": finish(folder_digest(shown)), "surprised": surprised(shown)}
        rows.append({**row, **found, "device_seconds": float(key["device_seconds"][row["name"]])})
    return {**dossier, "evidence": rows, "checkpoint": {**dossier["checkpoint"], "digest": key["shadow"]}}


def _words(key: Mapping[str, Any]) -> str:
    kind, example = plain(key["kind"], limit=40), plain(str(key["documents"][0]).strip(), limit=300)
    return f"{int(key['planted'])} passages of the kind '{kind}', such as: {example}"
