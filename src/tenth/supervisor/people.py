"""What people ask of the supervisor over the control socket, and what it answers. docs/formats.md, section 9."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tenth.charter import NAME
from tenth.encoding import canonical, read_plain, write_durably
from tenth.errors import WrongInput
from tenth.gate import adjustment, statement
from tenth.log.entry import Entry
from tenth.supervisor.control import Answer, Connection, Stop

if TYPE_CHECKING:
    from tenth.supervisor.loop import Supervisor
    from tenth.supervisor.trainee import Trainee


def answer(supervisor: Supervisor, connection: Connection, request: dict[str, Any], stop: Stop | None) -> Answer:
    """One request. Raises TenthError to refuse it."""
    name = request.get("name")
    name = name if isinstance(name, str) and NAME.fullmatch(name) else None
    result: Answer = {}
    match request.get("do"):
        case "pull" if stop:
            result = supervisor.pull(name, connection.uid, stop)
        case "submit":
            result = {"index": submit(supervisor, request.get("envelope"), request.get("share"))}
        case "watch":
            connection.watching, connection.name = True, name
            result = {"entries": [show_entry(entry) for entry in supervisor.log.entries[-50:]]}
        case other if other != "status":
            raise WrongInput("the request is refused", f"it asks to {other!r}"[:80], "pull, submit, watch or status")
    return {**result, "status": status(supervisor)}


def stop(supervisor: Supervisor) -> Trainee | None:
    """The first half of a pull, by the thread that hears it, whatever the supervisor's own thread waits for."""
    if trainee := supervisor.trainee:
        trainee.child.still()
    return trainee


def submit(supervisor: Supervisor, envelope: Any, share: Any = None) -> int:
    """A signed statement from outside: verified, judged, written. Returns the index of its entry."""
    said = statement.read(envelope, supervisor.history.charter)
    body = {"envelope": envelope}
    if said.event == "closed":
        body["outcome"] = "abandoned"
    if said.event == "adjusted":
        _try_patch(supervisor, said.patch or {})
    if said.event == "consented":
        supervisor.vault.accept(said.signatory, share)
    entry = supervisor.record((said.event, body))[0]
    if said.event in statement.ON_DOSSIER:
        copies = supervisor.run.path / supervisor.history.sealed_path / "consents"
        copies.mkdir(exist_ok=True)
        write_durably(copies / f"{said.signatory}.json", canonical(envelope))
        if said.event == "objected":
            supervisor.vault.forget(said.signatory)
    elif said.event != "noted":
        supervisor.drop_work()
    if said.event in ("adjusted", "closed"):
        supervisor.kept = None
        supervisor.drop_trainee()
    return entry.index


def _try_patch(supervisor: Supervisor, patch: Any) -> None:
    """Refuse an adjustment that cannot be carried out, before it is on record."""
    history, run = supervisor.history, supervisor.run
    changes = [*history.recipe_changes(history.recipe_name), patch.get("recipe", {})]
    adjustment.patched_recipe(read_plain(run.path / history.recipe_name), changes)
    if history.sealed_checkpoint and patch.get("evidence", {}).get("add"):
        found = "the checkpoint is sealed, and cannot be shown to another command"
        raise WrongInput("this adjustment is refused", found, "add evidence while a tenth is halted before its gate")
    globs = [glob for group in [*history.exclusions(), patch.get("exclude", [])] for glob in group]
    if not adjustment.without_excluded(read_plain(run.path / f"data.{history.phase_name}.jsonl"), globs):
        raise WrongInput("this adjustment is refused", "it would exclude every document", "exclude fewer")


def status(supervisor: Supervisor) -> dict[str, Any]:
    """Where the run stands."""
    history, trainee, log = supervisor.history, supervisor.trainee, supervisor.log
    state = history.state
    compute = {"spent": supervisor.spent(), "ceiling": state.ceiling, "limit": state.limit}
    return {
        "run": supervisor.run.name,
        "path": str(supervisor.run.path),
        "stance": state.stance.value,
        **{name: getattr(state, name) for name in ("anchor", "dossier", "gate", "gates")},
        "phase": history.phase_name,
        "epoch": history.tenth.epoch,
        **{name: sorted(getattr(state, name)) for name in ("signatories", "consents", "objections", "waiting_for")},
        **{name: amount.record() if amount else None for name, amount in compute.items()},
        "claims": trainee.claims() if trainee else history.claims,
        "halts": history.halts,
        "frozen": trainee is not None and trainee.frozen,
        "unwatched": supervisor.unwatched,
        "entries": log.tree.size,
        "root": log.tree.root().hex(),
        "supervisor": os.getpid(),
        "trainer": trainee.child.leash.pid if trainee else None,
    }


def show_entry(entry: Entry) -> dict[str, Any]:
    """As the control socket tells it."""
    return {"index": entry.index, "time": entry.time, "event": entry.event, "body": entry.body}
