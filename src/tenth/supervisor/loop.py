"""The supervisor: one loop. It hears people and trainer, keeps the meter, obeys the law, writes the log.

Order of everything: the log entry is durable first, then the world changes; except for the cord, where the world stops
first and the entry is written second (promises 2 and 8). Beside it a thread hears the cord, and does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

from tenth.charter import Compute
from tenth.errors import RunRefused, WrongInput
from tenth.log.entry import Entry, timestamp
from tenth.log.store import LogWriter
from tenth.quarantine import leash, sandbox
from tenth.state import Stance
from tenth.supervisor import gathering, limits, people
from tenth.supervisor.control import Control, Stop
from tenth.supervisor.gathering import Steps, Trip
from tenth.supervisor.rundir import RunDir
from tenth.supervisor.samples import Shards
from tenth.supervisor.trainee import Trainee
from tenth.supervisor.vault import Vault
from tenth.verify import verify


class Supervisor:
    """Holds one run."""

    def __init__(self, run: RunDir, *, exit_at_gate: bool = False, clock: Callable[[], float] = time.time) -> None:
        """Take the run's lock, check everything on record, and write ``tripped`` if a supervisor was lost."""
        self.run, self.clock, self.exit_at_gate = run, clock, exit_at_gate
        self._lock = run.lock()
        self.history = verify(run.path).history
        sandbox.require(self.history.charter.quarantine)
        leash.adopt_orphans()
        leash.sweep(f"tenth-{run.name}-")
        self.log = LogWriter(run.path / "log", run.name, run.key(), clock)
        self.trainee: Trainee | None = None
        self._work: Steps | None = None
        self.kept: Steps | None = None
        """The finishing of a lease that a pull broke into; goes on when the run is thawed."""
        self._pause = 0.0
        self._ticked = self._metered = self._told = self._passed = 0.0
        self._leases = 0
        self.unwatched = False
        self._leaving = False
        self._selector = selectors.DefaultSelector()
        self.control = Control(run.path, self._selector, lambda *a: people.answer(self, *a), lambda: people.stop(self))
        self.vault = Vault(run, self.history)
        self._shards = Shards(run.path / "samples")
        self._settled, self._peak = self.history.state.spent, run.peak
        """Spent by everything that has ended; the running tree's meter is added to it."""
        self._recover()

    def _recover(self) -> None:
        state, dossier = self.history.state, self.history.dossier
        thaw = state.stance is Stance.GATE and dossier is not None and dossier["frozen"]
        if state.stance is Stance.RUNNING or thaw:
            when = "at a gate, with a frozen trainer" if thaw else "while the run was running"
            detail = f"the supervisor ended {when}"
            spent = self._amount(max(0.0, state.reserved - state.spent.device_seconds))
            self.record(("tripped", {"reason": "lost_supervisor", "detail": detail, "spent": spent.record()}))
            self._settled = spent
        if self.history.state.stance is not Stance.CLOSED:
            self.vault.tidy()

    # --- the loop ----------------------------------------------------------------------------------------------------

    def serve(self) -> Stance:
        """Until the run is closed, a signal asks to leave, or (``exit_at_gate``) people must act."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_leaving", True))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            while not self._finished():
                self.turn()
        finally:
            self.close()
        return self.history.state.stance

    def turn(self) -> None:
        """Once round: hear, meter, work, decide."""
        timeout = min(self._pause, limits.TICK) if self._work else limits.TICK
        try:
            for key, mask in self._selector.select(timeout):
                key.data(mask)
            self._tick()
            self._step()
            self._decide()
        except Trip as trip:
            self.trip(trip.reason, trip.detail)
        except WrongInput as error:
            self.trip("crash", str(error))

    def _finished(self) -> bool:
        stance = self.history.state.stance
        waiting = stance in (Stance.GATE, Stance.HALTED) and self._work is None
        return stance is Stance.CLOSED or self._leaving or (self.exit_at_gate and waiting)

    def close(self) -> None:
        """Leave in order: nothing runs on without a supervisor (promise 6)."""
        self.drop_work()
        self.kept = None
        with contextlib.suppress(OSError):
            if self.history.state.stance is Stance.RUNNING:
                self.trip("lost_supervisor", "the supervisor was asked to leave")
        self.drop_trainee()
        self.control.close()
        self.log.close()
        os.close(self._lock)

    def _step(self) -> None:
        """One step of the work at hand."""
        work = self._work
        try:
            self._pause = (next(work) if work else None) or 0.0
        except StopIteration:
            self._work = None if self._work is work else self._work

    def drop_work(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.close()

    def _decide(self) -> None:
        """Start what the state asks for."""
        state = self.history.state
        if self._work is not None:
            return
        if state.stance is Stance.GATHERING:
            self._work = self._gather()
        elif state.stance is Stance.GATE and state.unanimous:
            self._work = self._start() if state.gate < state.gates else self._release()

    def record(self, *events: tuple[str, dict[str, Any]], dossier: dict[str, Any] | None = None) -> list[Entry]:
        """Judge, write durably, tell. Raises Unlawful and changes nothing, or OSError and the run must end."""
        entries = self.log.append(*events, judge=lambda entry: self.history.follow(entry, dossier))
        for entry in entries:
            self.control.tell({"on": "entry", "entry": people.show_entry(entry)})
        self.control.tell({"on": "status", "status": people.status(self)})
        return entries

    def spent(self) -> Compute:
        """Measured so far, evidence included."""
        return self._amount(self.trainee.child.device_seconds()) if self.trainee else self._settled

    def _amount(self, more: float) -> Compute:
        """What is settled and so many device-seconds more: each may have computed as much as a device can."""
        seconds = round(self._settled.device_seconds + more, 3)
        return Compute(seconds, round(seconds * self._peak))

    def _charge(self, seconds: float) -> None:
        self._settled = self._amount(seconds)

    def drop_trainee(self) -> None:
        """Kill what is left of the trainer and settle its meter."""
        if self.trainee:
            self._unlisten()
            self.trainee.close()
            self._settled, self.trainee = self.spent(), None

    # --- stopping ----------------------------------------------------------------------------------------------------

    def pull(self, name: str | None, uid: int, stop: Stop) -> dict[str, Any]:
        """Stop first, write second; no question is asked (promise 2). Nothing is lost by it (promise 3)."""
        stance = self.history.state.stance
        if stance is Stance.CLOSED:
            raise RunRefused("there is nothing to stop", "the run is closed")
        processes = self.trainee.freeze() if self.trainee and stance is Stance.RUNNING else None
        if self.trainee and processes == 0 and self.trainee.child.leash.ended():
            self._ended(0)  # it was done in this very moment: what it saved is not lost
        running = self.history.state.stance is Stance.RUNNING
        if running and self.trainee is None:
            self.kept, self._work = self._work, None
        self.drop_work()
        done = stop.done if stop.whom and stop.whom is self.trainee else time.perf_counter()
        stopped_ms = round((done - stop.heard) * 1000, 3)
        self._unlisten()
        frozen = self.trainee is not None or self.kept is not None
        body = {"by": {"name": name, "uid": uid}, "frozen": frozen, "spent": self.spent().record()}
        body["stopped_ms"] = stopped_ms if processes is not None else None
        self.record(*(self._shards.close() if running else []), ("pulled", body))
        return {"stopped_ms": stopped_ms, "processes": processes or 0}

    def trip(self, reason: str, detail: str) -> None:
        """The machine stops the run: the trainer is killed, people decide how to go on."""
        stance = self.history.state.stance
        self.drop_trainee()
        self.drop_work()
        self.kept = None
        if stance in (Stance.HALTED, Stance.CLOSED):
            return
        shard = self._shards.close() if stance is Stance.RUNNING else []
        self.vault.tidy()
        body = {"reason": reason, "detail": detail[:1000], "spent": self.spent().record()}
        self.record(*shard, ("tripped", body))

    def _start(self) -> Steps:
        """From GATE into RUNNING: everything that was consented to is looked at once more (promise 9)."""
        yield from gathering.still_as_sealed(self.run, self.history)
        yield from self.vault.open()
        dossier, state = self.history.dossier, self.history.state
        assert dossier is not None
        if not state.unanimous:
            return
        lease = dossier["proposal"]["lease"]
        if lease["resume"] == "thaw" and self.trainee is None and self.kept is None:
            raise Trip("crash", "the frozen trainer was lost; reopen to go back to the last checkpoint")
        with gathering.tripping("ceiling"):  # consent cannot grant what is not there
            self.record(("leased", {"dossier": state.dossier, "lease": lease}))
        self.vault.forget()
        self._write_meter()
        if lease["resume"] == "thaw":
            self._thaw()
        else:
            self._spawn()

    def _thaw(self) -> None:
        self.unwatched = False
        if self.trainee:
            self.trainee.thaw()
            self._listen()
        else:
            self._work, self.kept = self.kept, None

    def _spawn(self) -> None:
        lease, spent = self.history.lease, self.history.state.spent
        assert lease is not None
        self._leases += 1
        most = {name: limit - spent.record()[name] for name, limit in lease.limit.record().items()}
        name = f"tenth-{self.run.name}-{os.getpid()}-{self._leases}"
        self.trainee = Trainee(self.run, self.history, lease, name, most)
        self._listen()

    def _listen(self) -> None:
        if self.trainee:
            self._selector.register(self.trainee.channel.socket, selectors.EVENT_READ, self._hear)
            self._selector.register(self.trainee.child.leash.pidfd, selectors.EVENT_READ, self._ended)

    def _unlisten(self) -> None:
        if self.trainee:
            for one in (self.trainee.channel.socket, self.trainee.child.leash.pidfd):
                with contextlib.suppress(KeyError):
                    self._selector.unregister(one)

    def _hear(self, _mask: int) -> None:
        """Frames from the trainer, as many as fit into one buffer."""
        if (trainee := self.trainee) is None:
            return
        try:
            for frame in trainee.channel.frames():
                trainee.heed(frame)
                self._pass_on(frame)
            if trainee.flooding:
                raise WrongInput("a frame is refused", "ten times more samples than were asked for")
        except WrongInput as error:
            self.trip("frame", str(error))
        if trainee.channel.ended:
            with contextlib.suppress(KeyError):
                self._selector.unregister(trainee.channel.socket)

    def _pass_on(self, frame: dict[str, Any]) -> None:
        if frame["frame"] == "progress" and time.monotonic() - self._passed > 0.05:
            self._passed = time.monotonic()
            self.control.tell({"on": "progress", "progress": frame, "spent": self.spent().record()})
        if frame["frame"] == "sample":
            said = {name: value for name, value in frame.items() if name != "frame"}
            sample = {**said, "gate": self.history.state.gate, "time": timestamp(self.clock())}
            self._shards.add(sample)
            self.control.tell({"on": "sample", "sample": sample})

    def _ended(self, _mask: int) -> None:
        """The trainer's first process has ended."""
        trainee = self.trainee
        if trainee is None or self.history.state.stance is not Stance.RUNNING:
            return
        trainee.child.leash.device_seconds()  # while its meter can still be read
        while not trainee.channel.ended and self.trainee is trainee:
            trainee.child.leash.kill()  # whoever is left in the tree would hold the channel open
            self._hear(0)
        if self.trainee is not trainee:
            return
        status = trainee.child.leash.poll()
        if status == 0 and trainee.position is not None:
            self.drop_trainee()
            self._work = self._finish(trainee)
        elif status == 128 + signal.SIGSYS:
            self.trip("escape", "the trainer asked for a system call that no honest trainer asks for, and was killed")
        else:
            what = f"status {status}" if status is not None and status >= 0 else f"signal {-(status or 0)}"
            said = "without saying that it was done" if trainee.position is None else "after it said it was done"
            self.trip("crash", f"the trainer ended with {what} {said}; its last words: {trainee.child.last_words()}")

    def _finish(self, trainee: Trainee) -> Steps:
        """The tenth is trained and the trainer gone: seal its checkpoint and go to the gate."""
        assert trainee.saved is not None
        self._check_limits()
        limits.claim(trainee, self._peak)
        checkpoint = yield from gathering.seal_checkpoint(self.run, trainee.saved, trainee.lease.gate)
        self.record(*self._shards.close())
        body = {"gate": trainee.lease.gate, "checkpoint": checkpoint, "position": trainee.position}
        self.record(("reached", {**body, "spent": self.spent().record(), "claims": trainee.claims()}))

    # --- the meter ---------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < limits.TICK / 2:
            return
        self._ticked = now
        if self.history.state.stance is Stance.RUNNING and self.trainee:
            self._watch_presence()
            if not self.trainee.frozen:
                self._check_limits()
                limits.conduct(self.trainee, self.history.charter.quarantine, self._peak)
            if now - self._metered > limits.METERED_EVERY:
                limits.room(self.trainee, self.history.charter.quarantine, self.run)
                self._write_meter()
            if self._shards.full:
                self.record(*self._shards.close())
        if self.trainee and self.trainee.frozen and any(tree.stirs() for tree in self.trainee.child.trees):
            raise Trip("escape", "the frozen trainer went on")
        if now - self._told > 1:
            self._told = now
            self.control.tell({"on": "status", "status": people.status(self)})

    def _check_limits(self) -> None:
        """Kill at the lease's measured end, whatever the trainer says (promise 4)."""
        assert self.history.state.limit is not None
        limits.compute(self.spent(), self.history.state.limit, self.history.charter.ceiling)

    def _write_meter(self) -> None:
        """Write ahead what a crash would be charged, so that it never refunds (promise 4)."""
        spent, limit = self.spent(), self.history.state.limit
        assert limit is not None
        claims = self.trainee.claims() if self.trainee else self.history.claims
        reserved = limits.reserve(spent, limit)
        body = {"spent": spent.record(), "reserved_device_seconds": reserved, "claims": claims}
        self._metered = time.monotonic()
        with gathering.tripping("lease"):
            self.record(("metered", body))

    def _watch_presence(self) -> None:
        """``unwatched = "wait"``: the trainer stands still while nobody of the charter watches."""
        assert self.trainee is not None
        if self.history.charter.watch.unwatched == "go":
            return
        people = {*self.history.charter.signatories, *self.history.charter.watchers}
        present = any(one.watching and one.name in people for one in self.control.connections)
        if not present and not self.trainee.frozen:
            self.unwatched = True
            self._unlisten()
            self.trainee.freeze()
        elif present and self.unwatched:
            self.unwatched = False
            self.trainee.thaw()
            self._listen()

    def _gather(self) -> Steps:
        """From GATHERING to GATE: look, compute, write the dossier, seal it."""
        history, run = self.history, self.run
        yield from gathering.unchanged(run, history)
        yield from gathering.documents_unchanged(run, history)
        if self.trainee and self.trainee.child.leash.poll() is not None:
            self.drop_trainee()
        path = history.gate_path()
        gathering.discard(run.path / path)
        (run.path / path / "evidence").mkdir(parents=True)
        gathering.write_adjusted(run, history)
        left = history.charter.ceiling.device_seconds - self.spent().device_seconds
        panels = yield from gathering.evidence(run, history, path, self._charge, left)
        spent = self.spent()
        dossier = {
            **history.dossier_base(spent, frozen=self.trainee is not None or self.kept is not None),
            "log": {"size": self.log.tree.size, "root": self.log.tree.root().hex()},
            **gathering.digests_in_force(run, history),
            "evidence": panels,
            "protections": sandbox.means(leash.cgroup_parent() is not None),
        }
        dossier |= yield from self.vault.encipher()
        found = yield from gathering.write_dossier(run, path, dossier)
        self.vault.share_out(found)
        body = {"gate": history.state.gate, "path": path, "dossier": found, "spent": spent.record()}
        self.record(("sealed", body), dossier=dossier)
        self.vault.tidy()

    def _release(self) -> Steps:
        """The last gate, and everyone consents."""
        yield from gathering.still_as_sealed(self.run, self.history)
        yield from self.vault.open()
        if self.history.state.unanimous:
            self.vault.release()
            self.record(("closed", {"outcome": "released", "dossier": self.history.state.dossier}))
