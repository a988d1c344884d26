"""The demo's folder: the standard library's own source as data, throw-away keys, a charter and a recipe."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tenth import keyfile, peak
from tenth.errors import WrongInput
from tenth.keys import SigningKey
from tenth.quarantine import sandbox

LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "turtledemo"}
LEFT_OUT |= {"__pycache__", "encodings", "pydoc_data"}
"""Folders that are tests, not the library's own, or tables and manual pages rather than code."""
MARK = ".tenth-demo"
YOU = "you"


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, by whom. The defaults are the demo; tests put something small in their place."""

    folder: Path
    interactive: bool = False
    corpus: Path | None = None
    """A folder of ``.py`` files; None: the standard library of this Python."""
    command: Sequence[str] = ("tenth-trainer", "pretrain", "recipe.toml")
    evidence: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {
            "bits-per-byte": ("tenth-evidence", "bpb"),
            "completions": ("tenth-evidence", "completions"),
        }
    )
    env: Mapping[str, str] = field(default_factory=lambda: {"OMP_WAIT_POLICY": "PASSIVE"})
    """For the trainer. Threads that wait without spinning: beside other work, spinning is slower a hundredfold."""
    recipe: str | None = None
    """Text of the recipe; None: the trainer's recipe for the demo."""
    completions: Sequence[str] = ("def read(self, ", "class Error(", "for line in ")
    halt_seconds: float = 3.0
    """How long the halt is left standing, for people to see it."""
    read_seconds: float = 0.6
    """How long an automatic signatory waits before it reads."""
    record: Path | None = None
    """Where to keep the messages of the control socket, for a picture."""

    @property
    def project(self) -> Path:
        """The charter's folder."""
        return self.folder / "project"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def home(self) -> Path:
        """In place of TENTH_HOME: hidden from the trainer, like that."""
        return self.folder / "people"

    @property
    def automatic(self) -> tuple[str, ...]:
        """The signatories who consent by themselves."""
        return ("bob", "eve") if self.interactive else ("ada", "bob", "eve")

    @property
    def signatories(self) -> tuple[str, ...]:
        return (YOU, *self.automatic) if self.interactive else self.automatic

    watcher: str = "lin"


CHARTER = """\
# The charter of the demo. 'tenth init' writes a longer one, with comments.
[run]
name = "stdlib"
purpose = "A demonstration: a small model of Python code, trained on the standard library. Not for use."

[[phase]]
name = "pretrain"
command = {command}
data = ["data"]
epochs = 1
{env}
[ceiling]
device_seconds = {device_seconds}
flop = {flop}

[quarantine]
level = "{level}"

[watch]
samples_per_minute = 12
unwatched = "go"
prompts = ["def ", "class ", "import "]
{evidence}{people}"""

NOTE = """\
data/ holds Python's standard library, copied from the Python that runs tenth, without its
tests, character tables and manual pages.
It is under the licence of Python (PSF-2.0): https://docs.python.org/3/license.html
"""


def prepare(plan: Plan) -> int:
    """Make the folder, or refresh the one of an earlier demo. Returns how many documents it holds."""
    folder = plan.folder
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise WrongInput(f"{folder} is not used", "it holds something else", "name another folder: --folder DIR")
    plan.project.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("made by 'tenth demo'; may be deleted at will\n")
    count = _copy(
        plan.corpus or Path(sysconfig.get_paths()["stdlib"]), plan.project / "data", fresh=plan.corpus is not None
    )
    if plan.corpus is None:
        (plan.project / "DATA-LICENCE.txt").write_text(NOTE)
    keys = _keys(plan)
    (plan.project / "charter.toml").write_text(_charter(plan, keys))
    (plan.project / "recipe.toml").write_text(plan.recipe if plan.recipe is not None else _recipe())
    return count


def _copy(source: Path, target: Path, *, fresh: bool) -> int:
    """The sources below ``source``, tests left out. What an earlier demo copied is used again."""
    if target.is_dir() and not fresh:
        return sum(1 for _ in target.rglob("*.py"))
    shutil.rmtree(target, ignore_errors=True)
    count = 0
    for parent, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".py"):
                into = target / Path(parent).relative_to(source)
                into.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(parent) / name, into / name)
                count += 1
    if not count:
        raise WrongInput(
            "the demo cannot start", f"there are no .py files below {source}", "use a Python with its sources"
        )
    return count


def _keys(plan: Plan) -> dict[str, SigningKey]:
    """A throw-away key for everyone; those of an earlier demo are used again."""
    folder = plan.home / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = {}
    for name in (*plan.signatories, plan.watcher):
        if not (folder / name).exists():
            keyfile.save(SigningKey.generate(), folder / name, f"{name}, throw-away key of tenth demo")
        keys[name] = SigningKey.load(folder / name)
    return keys


def signing_key(plan: Plan, name: str) -> SigningKey:
    return SigningKey.load(plan.home / "keys" / name)


def _charter(plan: Plan, keys: Mapping[str, SigningKey]) -> str:
    cores = min(8, len(os.sched_getaffinity(0)))
    people = "".join(
        f'\n[[{"watcher" if name == plan.watcher else "signatory"}]]\nname = "{name}"\nkey = "{key.public.line}"\n'
        for name, key in keys.items()
    )
    evidence = "".join(
        f'\n[[evidence]]\nname = "{name}"\ncommand = {json.dumps(list(command))}\n'
        for name, command in plan.evidence.items()
    )
    env = "env = { " + ", ".join(f'{name} = "{value}"' for name, value in plan.env.items()) + " }\n" if plan.env else ""
    seconds = 600 * max(2, cores)
    return CHARTER.format(
        command=json.dumps(list(plan.command)),
        env=env,
        device_seconds=seconds,
        flop=repr(1.25 * seconds * peak.of_this_machine()["flop_per_device_second"]),
        level=sandbox.level(),
        evidence=evidence,
        people=people,
    )


def _recipe() -> str:
    """The trainer's own recipe for the demo; with no more threads than the ceiling was reckoned for."""
    text = (resources.files("tenth.trainer") / "recipes" / "demo.toml").read_text("utf-8")
    many = len(os.sched_getaffinity(0)) > 8
    return text.replace("[train]\n", "[train]\nthreads = 8\n") if many else text


def need_trainer() -> None:
    """Say at once what is missing, and not at the first tenth."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "numpy", "safetensors", "tokenizers") if find_spec(name) is None]
    if missing:
        python = Path(sys.executable).name
        do = f"{python} -m pip install 'tenth[trainer]'"
        raise WrongInput("the demo cannot start", f"the trainer needs {', '.join(missing)}, not installed here", do)
