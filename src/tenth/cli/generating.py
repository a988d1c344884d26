"""``generate``: text from a checkpoint that the log knows, written in the sandbox and sanitised."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from tenth.cli.find import find_run, is_run
from tenth.cli.options import RUN, json_option
from tenth.cli.outcome import emit
from tenth.cli.replay import Replay, replay
from tenth.errors import BrokenPromise, WrongInput
from tenth.gate.sealing import finish, folder_digest
from tenth.quarantine import sandbox
from tenth.sanitise import plain

SECONDS = 600.0


@click.command("generate")
@click.argument("run", metavar="[RUN|CHECKPOINT]", required=False, type=RUN)
@click.option("--prompt", "prompts", multiple=True, help="What the text begins with; may be given several times.")
@click.option("--tokens", type=click.IntRange(1, 100_000), default=128, show_default=True, help="How many to write.")
@click.option(
    "--temperature", type=click.FloatRange(0), default=0.8, show_default=True, help="0: always the likeliest."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--gate", type=int, default=None, help="The checkpoint of this gate. Default: the newest.")
@json_option
def generate_command(
    run: str | None, prompts: Sequence[str], tokens: int, temperature: float, seed: int, gate: int | None, as_json: bool
) -> None:
    """Write text from a checkpoint of RUN.

    Only checkpoints that the log knows are used, and their digest is checked first.
    """
    path, gate = _which(run, gate, quiet=as_json)
    checkpoint = known_checkpoint(replay(Path(path)), gate)
    options = ["--tokens", str(tokens), "--temperature", str(temperature), "--seed", str(seed)]
    texts = [written(Path(path), checkpoint, prompt, options) for prompt in prompts or ("",)]
    if as_json:
        emit(
            {
                "checkpoint": str(checkpoint),
                "texts": [{"prompt": p, "text": t} for p, t in zip(prompts or ("",), texts, strict=True)],
            }
        )
    else:
        click.echo("\n\n".join(plain(text, lines=True, limit=200_000) for text in texts))


def _which(wanted: str | None, gate: int | None, *, quiet: bool) -> tuple[str, int | None]:
    """A checkpoint's folder names run and gate."""
    if wanted is not None and os.path.isdir(wanted) and not is_run(wanted):
        folder = Path(wanted).resolve()
        if folder.parent.name == "checkpoints" and folder.name.isdigit() and is_run(str(folder.parents[1])):
            return str(folder.parents[1]), int(folder.name)
        raise WrongInput(
            f"{wanted} is not used", "it is not a checkpoint of a run", "only checkpoints that a log knows are used"
        )
    return find_run(wanted, quiet=quiet), gate


def known_checkpoint(found: Replay, gate: int | None) -> Path:
    """The folder of a checkpoint on record, its digest checked. Raises BrokenPromise(9) when it is another one."""
    known = {entry.body["gate"]: entry.body["checkpoint"] for entry in found.log.entries if entry.event == "reached"}
    if not known:
        raise WrongInput(f"{found.history.run} has no checkpoint", "no tenth has been trained yet", "tenth status")
    if gate is not None and gate not in known:
        raise WrongInput(f"there is no checkpoint of gate {gate}", f"there are 1 to {max(known)}", "give --gate")
    record = known[max(known) if gate is None else gate]
    digest = finish(folder_digest(found.path / record["path"]))
    if digest != record["digest"]:
        raise BrokenPromise(9, f"{record['path']} is not the checkpoint on record", f"digest {digest}")
    return found.path / str(record["path"])


def written(run: Path, checkpoint: Path, prompt: str, options: Sequence[str]) -> str:
    """One text, raw: whoever shows it sanitises it. Computed in the sandbox, without network."""
    with tempfile.TemporaryDirectory(prefix="tenth-") as folder:
        cell = sandbox.Cell(
            writable=Path(folder),
            readable=[],
            hidden=[run, *sandbox.hidden_from_everyone()],
            sealed=[checkpoint],
            cwd=Path(folder),
            env={},
        )
        words = [sys.executable, "-m", "tenth.trainer", "generate", str(checkpoint), "--prompt", prompt, *options]
        with sandbox.entering(words, cell) as (line, descriptors):
            done = subprocess.run(
                line, cwd=folder, env=sandbox.environment(cell), stdin=subprocess.DEVNULL, capture_output=True,
                timeout=SECONDS, check=False, pass_fds=descriptors,
            )  # fmt: skip
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        do = (
            "pip install 'tenth[trainer]'" if "No module named" in "".join(last) else "was it trained by tenth-trainer?"
        )
        raise WrongInput(
            "nothing was written", "; ".join(last) or f"the trainer ended with status {done.returncode}", do
        )
    return done.stdout.decode(errors="replace").removesuffix("\n")
