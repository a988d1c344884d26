"""The history of a run: the log folded into what supervisor, reviewer and auditor all need to know.

``follow`` is the one door: an entry is authenticated (signatures), judged by the law (``apply``), then remembered.
The supervisor follows its own entries before it writes them; the auditor follows them from the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tenth.charter import Charter, Compute, Evidence, Tenth, compute, number
from tenth.encoding import canonical
from tenth.errors import BadStatement, WrongInput
from tenth.gate import adjustment, statement
from tenth.gate.lease import Lease, propose
from tenth.log.entry import Entry
from tenth.state import Event, State, apply, begin

REASONS = frozenset(
    "ceiling lease limit escape silence crash claim frame alarm evidence data checkpoint lost_supervisor".split()
)
_SIGNED = frozenset(statement.PREDICATES)
_BY = {"name", "uid"}
_BODIES: Mapping[str, frozenset[str]] = {
    "opened": frozenset("version run nonce log_key charter manifest recipes data".split()),
    "sealed": frozenset("gate path dossier spent".split()),
    "leased": frozenset("dossier lease".split()),
    "metered": frozenset("spent reserved_device_seconds claims".split()),
    "sampled": frozenset("path sha256 count".split()),
    "reached": frozenset("gate checkpoint position spent claims".split()),
    "pulled": frozenset("by frozen stopped_ms spent".split()),
    "tripped": frozenset("reason detail spent".split()),
    **dict.fromkeys(("consented", "objected", "adjusted", "reopened", "noted"), frozenset({"envelope"})),
}


class History:
    """What has happened so far. Mutated by ``follow`` only, and only after the law has agreed."""

    def __init__(self, charter: Charter, opened: Entry) -> None:
        """From entry 0."""
        _fields(opened, _BODIES["opened"])
        if opened.event != "opened" or opened.index != 0 or canonical(opened.body["version"]) != b"1":
            raise WrongInput("this log is refused", "it does not begin with 'opened', version 1")
        if not re.fullmatch("[0-9a-f]{32}", str(opened.body["nonce"])):
            raise WrongInput("this log is refused", "its nonce is not 32 hexadecimal digits")
        if opened.body["charter"] != charter.digest:
            raise WrongInput("this charter is refused", "the log was opened under another one", "restore the file")
        self.charter = charter
        self.opened = opened.body
        self.run: str = opened.body["run"]
        self.state: State = begin(frozenset(charter.signatories), charter.gates, charter.ceiling, opened.digest)
        self.seals = 0
        self.gate_seals: dict[int, int] = {}
        self.dossier: Mapping[str, Any] | None = None
        """The dossier on the table."""
        self.sealed_path = ""
        """Its folder, relative to the run directory."""
        self.lease: Lease | None = None
        """The last lease granted."""
        self.checkpoint: dict[str, str] | None = None
        self.sealed_checkpoint: dict[str, str] | None = None
        """Path and digest of its encrypted form, once there is one."""
        self.position: Any = None
        self.claims: dict[str, Any] = {}
        self.samples: list[dict[str, Any]] = []
        self.halts: list[dict[str, Any]] = []
        """Shards and halts since the gate before this one was reached."""
        self._seen = (0, 0)
        """How many of them were there when this gate was reached."""
        self.adjusted: list[str] = []
        """Leaf digests of the adjusted entries."""
        self.patches: list[tuple[str, Mapping[str, Any]]] = []
        """(name of the recipe it touches, patch), in order."""
        self.frozen = False
        """A stopped trainer is kept, as far as the log tells; the supervisor knows better when it is lost."""

    # --- the one door ------------------------------------------------------------------------------------------------

    def follow(self, entry: Entry, dossier: Mapping[str, Any] | None = None) -> Event:
        """Authenticate, judge, remember. ``dossier`` is the content of the file that a ``sealed`` entry names.

        Raises Unlawful, BadStatement or BadEncoding, and then nothing has changed.
        """
        if (entry.event == "sealed") is not bool(dossier):
            raise WrongInput(f"'{entry.event}' is refused", "a dossier comes with 'sealed', and with nothing else")
        said = self._statement(entry) if "envelope" in entry.body else None
        event = self._event(entry, said)
        if dossier:
            event = event._replace(surprised=any(panel["surprised"] for panel in dossier["evidence"]))
        self.state = apply(self.state, event)
        self._remember(entry, said, dossier)
        return event

    def _statement(self, entry: Entry) -> statement.Statement:
        said = statement.read(entry.body["envelope"], self.charter)
        if said.event != entry.event or said.run != self.run:
            raise BadStatement("this statement is refused", f"it says '{said.event}' for run '{said.run}'")
        judged = said.event in statement.ON_DOSSIER and self.dossier and self.state.dossier
        if judged and said.subjects != statement.subjects_of(self.state.dossier or "", self.dossier or {}):  # promise 9
            raise BadStatement("this statement is refused", "it covers other digests than the dossier's")
        return said

    def _event(self, entry: Entry, said: statement.Statement | None) -> Event:
        body = entry.body
        _fields(entry, _BODIES.get(entry.event))
        if said is not None:
            words = {"note": said.note, "outcome": body.get("outcome", "")}
            return Event(entry.event, said.signatory, entry.digest, said.anchor, **words)
        if entry.event in _SIGNED and entry.event != "closed":
            raise BadStatement(f"'{entry.event}' is refused", "it carries no signed statement")
        facts: dict[str, Any] = {}
        if "spent" in body:
            facts["spent"] = compute(body["spent"])
        if entry.event == "tripped" and body["reason"] not in REASONS:
            raise WrongInput("'tripped' is refused", f"unknown reason {body['reason']!r}"[:80])
        if entry.event == "metered":
            facts["reserved"] = number(body["reserved_device_seconds"])
        if entry.event == "leased":
            facts["limit"] = Lease.parse(body["lease"]).limit
            if self.dossier and self.dossier["proposal"] != {"lease": body["lease"]}:
                raise BadStatement("'leased' is refused", "the lease is not the one that was consented to")
        if type(body.get("gate", 0)) is not int or type(body.get("frozen", False)) is not bool:
            raise WrongInput(f"'{entry.event}' is refused", "its gate is no number, or its frozen no truth value")
        if "by" in body and set(body["by"]) != _BY:
            raise WrongInput(f"'{entry.event}' is refused", "its 'by' has other fields than name and uid")
        for name in ("gate", "dossier", "reason", "outcome"):
            if name in body:
                facts[name] = body[name]
        return Event(entry.event, digest=entry.digest, **facts)

    def _remember(self, entry: Entry, said: statement.Statement | None, dossier: Mapping[str, Any] | None) -> None:
        body = entry.body
        match entry.event:
            case "sealed":
                self.dossier, self.sealed_path = dossier, body["path"]
                self.sealed_checkpoint = (dossier or {}).get("sealed")
                self.seals += 1
                self.gate_seals[body["gate"]] = self.gate_seals.get(body["gate"], 0) + 1
            case "leased":
                self.lease = Lease.parse(body["lease"])
                self.frozen = False
            case "metered":
                self.claims = body["claims"]
            case "sampled":
                self.samples.append(body)
            case "reached":
                self.checkpoint, self.position, self.claims = body["checkpoint"], body["position"], body["claims"]
                self.sealed_checkpoint = None
                self.samples, self.halts = self.samples[self._seen[0] :], self.halts[self._seen[1] :]
                self._seen = (len(self.samples), len(self.halts))
            case "pulled" | "tripped":
                self.halts.append({"index": entry.index, "event": entry.event, "reason": body.get("reason")})
                self.frozen = bool(body.get("frozen", False)) if entry.event == "pulled" else False
            case "adjusted":
                self.adjusted.append(entry.digest)
                self.patches.append((self.recipe_name, (said and said.patch) or {}))
                self.frozen = False

    # --- what follows from it ----------------------------------------------------------------------------------------

    @property
    def tenth(self) -> Tenth:
        """What the next lease would train; at the last gate, what the last one did."""
        tenth = self.charter.tenth_after(min(self.state.gate, self.charter.gates - 1))
        assert tenth is not None
        return tenth

    @property
    def recipe_name(self) -> str:
        return self.tenth.phase.recipe

    @property
    def phase_name(self) -> str:
        return self.tenth.phase.name

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The panels that this gate's dossier must have; none before there is a checkpoint to speak of."""
        if self.checkpoint is None:
            return ()
        return adjustment.evidence_in_force(self.charter.evidence, (patch for _, patch in self.patches))

    def recipe_changes(self, name: str) -> list[Mapping[str, Any]]:
        return [patch["recipe"] for touched, patch in self.patches if touched == name and patch.get("recipe")]

    def exclusions(self) -> list[list[str]]:
        return [patch["exclude"] for _, patch in self.patches if patch.get("exclude")]

    def recipe_file(self) -> str:
        """Name, in the run directory, of the recipe in force."""
        return adjustment.numbered(self.recipe_name, len(self.recipe_changes(self.recipe_name)) + 1)

    def data_file(self) -> str:
        """Name, in the run directory, of the data listing in force."""
        return adjustment.numbered(f"data.{self.phase_name}.jsonl", len(self.exclusions()) + 1)

    def gate_path(self) -> str:
        """Folder of the next seal: ``gates/03``, then ``gates/03.2`` and so on."""
        return "gates/" + adjustment.numbered(f"{self.state.gate:02d}", self.gate_seals.get(self.state.gate, 0) + 1)

    def dossier_base(self, spent: Compute, *, frozen: bool) -> dict[str, Any]:
        """The parts of the next dossier that the history alone decides; the auditor recomputes them."""
        resume = "thaw" if frozen else "checkpoint" if self.checkpoint else "fresh"
        lease = propose(self.charter, self.state.gate, spent, resume)
        return {
            "version": 1,
            "run": self.run,
            "gate": self.state.gate,
            "seal": self.seals,
            "charter": self.charter.digest,
            "manifest": self.opened["manifest"],
            "checkpoint": self.checkpoint,
            "position": self.position,
            "frozen": frozen,
            "spent": spent.record(),
            "ceiling": self.charter.ceiling.record(),
            "samples": self.samples,
            "halts": self.halts,
            "adjustments": self.adjusted,
            "claims": self.claims,
            "proposal": {"lease": lease.record()} if lease else {"release": True},
        }


def _fields(entry: Entry, wanted: frozenset[str] | None) -> None:
    found = entry.body.keys()
    if entry.event == "closed":
        wanted = frozenset({"outcome", "envelope" if "envelope" in entry.body else "dossier"})
    if wanted is None or found != wanted:
        raise WrongInput(f"the entry '{entry.event}' is refused", f"its body has {sorted(found)}")
