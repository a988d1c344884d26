"""The vault of a run whose charter asks for sealed checkpoints: encrypt at the gate, open with everyone's share.

The key lives in this process from its making until its shares are written. Shares that came with consents lie in
``shares/``, sealed to the log's key, until the tenth begins. What is opened lies in ``.open/`` while it is needed.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from tenth import cipher
from tenth.encoding import canonical, read_plain, sync_folder, write_durably
from tenth.errors import BadStatement, WrongInput
from tenth.gate.history import History
from tenth.gate.sealing import SEALED, SHARES, folder_digest
from tenth.supervisor.gathering import Steps, Trip, discard, tripping
from tenth.supervisor.rundir import OPEN, RunDir


class Vault:
    """Does nothing where the charter does not ask for it."""

    def __init__(self, run: RunDir, history: History) -> None:
        self.run, self.history = run, history
        self.wanted = history.charter.seal.checkpoints
        self._key = b""

    def encipher(self) -> Steps:
        """The dossier's ``{sealed: ...}``: path and digest of the encrypted checkpoint; None before there is one."""
        checkpoint = self.history.checkpoint
        if not self.wanted:
            return {}
        if checkpoint is None or self.history.sealed_checkpoint:
            return {"sealed": self.history.sealed_checkpoint}
        path = checkpoint["path"] + SEALED
        discard(self.run.path / path)  # of a gate that a crash undid
        self._key = secrets.token_bytes(32)
        with tripping("checkpoint"):
            yield from cipher.encipher(self.run.path / checkpoint["path"], self.run.path / path, self._key)
            (self.run.path / path).chmod(0o555)
            found = yield from folder_digest(self.run.path / path)
        return {"sealed": {"path": path, "digest": found}}

    def share_out(self, dossier: str) -> None:
        """Give the key away: from here on everyone is needed. ``dossier``: digest of the one that is being sealed."""
        self.forget()  # those of a gate before
        checkpoint = self.history.checkpoint
        if not self._key or checkpoint is None:
            return
        context = {"run": self.history.run, "gate": self.history.state.gate, "checkpoint": checkpoint["digest"]}
        people, escrow = self.history.charter.signatories, self.history.charter.seal.escrow
        shares = cipher.share_out(self._key, {**context, "dossier": dossier}, people, escrow)
        write_durably(self.run.path / (checkpoint["path"] + SHARES), canonical(shares))
        self._key = b""

    def tidy(self) -> None:
        """Remove what lies open and need not."""
        if self.wanted:
            for folder in (self.run.path / OPEN).glob("*"):  # itself it stays: a frozen trainer looks through it
                discard(folder)
            if self.history.sealed_checkpoint and self.history.checkpoint:
                discard(self.run.path / self.history.checkpoint["path"])

    def accept(self, name: str, passed: Any) -> None:
        """The share that comes with a consent; kept until the tenth begins. Raises BadStatement."""
        if self.history.sealed_checkpoint is None:
            return
        if passed is None:
            do = "'tenth consent' sends it along; a key that only signs, as a passkey's, cannot open one"
            raise BadStatement("this consent is refused", "it brings no share of the checkpoint's key", do)
        cipher.take_in(self._shares(), name, passed, self.run.key())
        folder = self.run.path / "shares"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_durably(folder / name, passed.encode(), 0o600)
        sync_folder(folder.parent)

    def open(self) -> Steps:
        """With everyone's shares the checkpoint lies open again; for a thaw, too, since a frozen trainer may not have
        read all of it. Trips where a share is missing."""
        sealed, checkpoint = self.history.sealed_checkpoint, self.history.checkpoint
        if sealed is None or checkpoint is None or not self.history.state.unanimous:
            return
        target = self.folder(checkpoint["path"])
        discard(target)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        shares, log_key = self._shares(), self.run.key()
        with tripping("checkpoint"):
            try:
                passed = {
                    name: read_plain(self.run.path / "shares" / name) for name in self.history.charter.signatories
                }
            except OSError as error:
                raise Trip("checkpoint", f"a share was lost: {error}") from None
            key = cipher.join([cipher.take_in(shares, name, one.decode(), log_key) for name, one in passed.items()])
            yield from cipher.decipher(self.run.path / sealed["path"], target, key)
            found = yield from folder_digest(target)
        if found != checkpoint["digest"]:
            raise Trip("checkpoint", f"{checkpoint['path']} opened into something else")
        target.chmod(0o500)

    def release(self) -> None:
        """The last gate, and everyone consents: the checkpoint lies open for good."""
        if self.history.sealed_checkpoint is None or self.history.checkpoint is None:
            return
        path = self.history.checkpoint["path"]
        discard(self.run.path / path)
        self.folder(path).chmod(0o700)
        os.replace(self.folder(path), self.run.path / path)
        (self.run.path / path).chmod(0o555)
        sync_folder((self.run.path / path).parent)  # promise 8

    def forget(self, name: str = "") -> None:
        """The shares were used, or their consents are void; or this person's is."""
        if self.wanted:
            discard(self.run.path / "shares" / name)

    def folder(self, path: str) -> Path:
        """Where the checkpoint of this path lies open."""
        return self.run.path / OPEN / Path(path).name

    def _shares(self) -> cipher.Shares:
        checkpoint = self.history.checkpoint
        assert checkpoint is not None
        try:
            data = read_plain(self.run.path / (checkpoint["path"] + SHARES))
        except OSError as error:
            raise WrongInput("the shares of the checkpoint cannot be read", str(error)) from None
        return cipher.read_shares(data, self.history.run, checkpoint["digest"])
