"""The process that writes text, from outside: started in the sandbox without network, asked and heard in JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenth.cli.find import find_run, is_run
from tenth.cli.replay import Replay, replay
from tenth.errors import BrokenPromise, WrongInput
from tenth.gate.sealing import SEALED, finish, folder_digest
from tenth.quarantine import sandbox
from tenth.sanitise import plain

LIMIT = 1_000_000


class Model:
    """A folder that holds a model, and what a log says of it, if one does."""

    def __init__(self, wanted: str | None, gate: int | None, *, quiet: bool = False) -> None:
        self.run: Path | None = None
        self.about: dict[str, str] = {}
        path, gate = _which(wanted, gate, quiet=quiet)
        if is_run(path):
            self.run = Path(path)
            found = replay(self.run)
            self.folder = known_checkpoint(found, gate)
            self.about = origin(found, self.folder)
        else:
            self.folder = Path(path).resolve()
            if not quiet:
                print(f"{wanted} lies outside every run: no log speaks of it", file=sys.stderr)


def _which(wanted: str | None, gate: int | None, *, quiet: bool) -> tuple[str, int | None]:
    """A checkpoint's folder names run and gate; another folder with a model stands for itself."""
    if wanted is not None and os.path.isdir(wanted) and not is_run(wanted):
        folder = Path(wanted).resolve()
        if folder.parent.name == "checkpoints" and folder.name.isdigit() and is_run(str(folder.parents[1])):
            return str(folder.parents[1]), int(folder.name)
        if (folder / "config.json").is_file():
            return str(folder), None
        raise WrongInput(
            f"{wanted} is not used", "it is neither a checkpoint of a run nor a folder in Hugging Face's layout",
            "name a run, a checkpoint, or a folder with config.json and model.safetensors",
        )  # fmt: skip
    return find_run(wanted, quiet=quiet), gate


def known_checkpoint(found: Replay, gate: int | None) -> Path:
    """The folder of a checkpoint on record, its digest checked. Raises BrokenPromise(9) when it is another one."""
    known = {entry.body["gate"]: entry.body["checkpoint"] for entry in found.log.entries if entry.event == "reached"}
    if not known:
        raise WrongInput(f"{found.history.run} has no checkpoint", "no tenth has been trained yet", "tenth status")
    if gate is not None and gate not in known:
        raise WrongInput(f"there is no checkpoint of gate {gate}", f"there are 1 to {max(known)}", "give --gate")
    record = known[max(known) if gate is None else gate]
    if not (found.path / record["path"]).exists() and (found.path / (record["path"] + SEALED)).exists():
        raise WrongInput(
            f"{record['path']} is not used", "it is sealed: it opens with every signatory's share",
            "tenth unseal opens it, with everyone's keys or with the escrow key",
        )  # fmt: skip
    digest = finish(folder_digest(found.path / record["path"]))
    if digest != record["digest"]:
        raise BrokenPromise(9, f"{record['path']} is not the checkpoint on record", f"digest {digest}")
    return found.path / str(record["path"])


def origin(found: Replay, folder: Path) -> dict[str, str]:
    """What a model card says: run, gate, charter, checkpoint, and the head of the log as it stands."""
    entries = [entry for entry in found.log.entries if entry.event == "reached"]
    reached = next(entry for entry in entries if found.path / entry.body["checkpoint"]["path"] == folder)
    charter = finish_file(found.path / "charter.toml")
    return {
        "run": found.history.run, "gate": str(reached.body["gate"]), "charter SHA-256": charter,
        "checkpoint digest": str(reached.body["checkpoint"]["digest"]), "head of the log": found.fingerprint,
    }  # fmt: skip


def finish_file(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def verb(model: Model, scratch: Path, words: Sequence[str]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Command line of a trainer's verb in the sandbox, and what Popen needs; it may write to `scratch` alone."""
    hidden = [*([model.run] if model.run else []), *sandbox.hidden_from_everyone()]
    cell = sandbox.Cell(writable=scratch, readable=[], hidden=hidden, sealed=[model.folder], cwd=scratch, env={})
    with sandbox.entering([sys.executable, "-m", "tenth.trainer", *words], cell) as (line, keep):
        yield line, {"cwd": scratch, "env": sandbox.environment(cell), "pass_fds": keep}


def failed(stderr: str, status: int) -> WrongInput:
    """What a trainer's verb said when it ended, in three parts."""
    said = {}
    for line in stderr.strip().splitlines():
        for label in ("found:", "do:"):
            if line.strip().startswith(label):
                said[label] = line.strip().removeprefix(label).strip()
    if "No module named" in stderr:
        missing = stderr.strip().splitlines()[-1]
        return WrongInput("nothing was written", plain(missing, limit=300), "pip install 'tenth[trainer]'")
    last = (stderr.strip().splitlines() or [f"the trainer ended with status {status}"])[-1]
    found, do = said.get("found:", last), said.get("do:", "was it trained by tenth-trainer?")
    return WrongInput("nothing was written", plain(found, limit=500), plain(do, limit=500))


class Writer:
    """Answers while it lives. Use as a context manager."""

    def __init__(self, model: Model) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="tenth-")
        folder = Path(self._scratch.name)
        self._errors = (folder / "stderr").open("w+b")
        with verb(model, folder, ["write", str(model.folder)]) as (line, options):
            self._process = subprocess.Popen(
                line, **options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                start_new_session=True,  # Ctrl-C is ours to hear: it ends an answer, not the writer
            )  # fmt: skip
        self.chat = bool(self._hear()["chat"])

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._scratch.cleanup()

    def ask(self, request: Mapping[str, Any], show: Callable[[int, str], None]) -> dict[str, Any]:
        """The answer; `show` hears each piece of each row, raw. Ctrl-C breaks the answer off, not the program."""
        self._say(request)
        broken_off = False
        while True:
            try:
                frame = self._hear()
                if "texts" in frame:
                    return {**frame, "broken_off": broken_off}
                show(frame["row"], frame["text"])
            except KeyboardInterrupt:
                if broken_off:
                    raise
                broken_off = True
                self._say({})

    def _say(self, frame: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(frame) + "\n").encode())
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            raise failed(self._errors.read().decode(errors="replace"), status)
        found: dict[str, Any] = json.loads(line)
        return found


class Page:
    """Pieces of model text on their way to a terminal, through the sanitising exit (promise 10), as they come."""

    def __init__(self, out: Callable[[str], None]) -> None:
        self._out, self._line, self._shown = out, "", 0

    def add(self, piece: str) -> None:
        *whole, rest = (self._line + piece).split("\n")
        for line in whole:
            self._line = line
            self._show(final=True)
            self._out("\n")
            self._line, self._shown = "", 0
        self._line = rest
        self._show(final=False)

    def end(self) -> None:
        self._show(final=True)

    def _show(self, *, final: bool) -> None:
        """A mark may be followed by more marks, of which only so many are shown: it waits for the next letter."""
        if not final and self._line and unicodedata.category(self._line[-1])[0] == "M":
            return
        text = plain(self._line, lines=True, limit=LIMIT)
        self._out(text[self._shown :])
        self._shown = len(text)
