"""The demo's folder: the standard library's own source as data, throw-away keys, a charter and a recipe."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
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

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """A phase of the demo's charter."""

    name: str = "pretrain"
    command: Sequence[str] = ("tenth-trainer", "pretrain", "recipe.toml")
    file: str = "recipe.toml"
    recipe: str | None = None
    """Text of the recipe; None: the trainer's recipe for the demo."""
    data: str = "data"
    code: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, by whom. The defaults are the demo; tests put something small in their place."""

    folder: Path
    interactive: bool = False
    corpus: Path | None = None
    """A folder of ``.py`` files; None: the standard library of this Python."""
    packages: bool = True
    """Are folders below ``corpus`` copied, too?"""
    purpose: str = "a small model of Python code, trained on the standard library"
    phases: Sequence[Part] = (Part(),)
    more: Callable[[Path], None] | None = None
    """Puts into the project what its other phases need."""
    before: Mapping[int, Callable[[Path, Say], None]] = field(default_factory=dict)
    """Gate -> what is done there before anyone consents; it ends with an adjustment. ``(run, say)``"""
    ending: Callable[[Path, Say], None] | None = None
    """Says what became of it, after verify."""
    evidence: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {
            "bits-per-byte": ("tenth-evidence", "bpb"),
            "completions": ("tenth-evidence", "completions"),
        }
    )
    env: Mapping[str, str] = field(default_factory=lambda: {"OMP_WAIT_POLICY": "PASSIVE"})
    """For the trainer. Threads that wait without spinning leave the processors to whoever else works."""
    jail: int = 0
    """Processes that run what the model writes."""
    seconds: float = 600
    """Of the ceiling, for each core."""
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

    @property
    def viewer(self) -> str:
        """NAME=ROLE of whoever looks in a browser."""
        return f"{YOU}=signatory" if self.interactive else f"{self.watcher}=watcher"


CHARTER = """\
# The charter of the demo. 'tenth init' writes a longer one, with comments.
[run]
name = "stdlib"
purpose = "A demonstration: {purpose}. Not for use."

{phases}[ceiling]
device_seconds = {device_seconds}
flop = {flop}

[quarantine]
level = "{level}"
{jail}
[watch]
samples_per_minute = 12
unwatched = "go"
prompts = ["def ", "class ", "import "]
{evidence}{people}"""

NOTE = """\
{data}/ holds Python's standard library, copied from the Python that runs tenth, without its
tests, character tables and manual pages.
It is under the licence of Python (PSF-2.0): https://docs.python.org/3/license.html
"""


def claim(folder: Path) -> None:
    """Make the folder the demo's own; refuse one that holds something else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise WrongInput(f"{folder} is not used", "it holds something else", "name another folder: --folder DIR")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("made by 'tenth demo'; may be deleted at will\n")


def prepare(plan: Plan) -> int:
    """Make the folder, or refresh the one of an earlier demo. Returns how many documents it holds."""
    claim(plan.folder)
    plan.project.mkdir(parents=True, exist_ok=True)
    source = plan.corpus or Path(sysconfig.get_paths()["stdlib"])
    count = _copy(source, plan.project / plan.phases[0].data, fresh=plan.corpus is not None, packages=plan.packages)
    if plan.corpus is None:
        (plan.project / "DATA-LICENCE.txt").write_text(NOTE.format(data=plan.phases[0].data))
    keys = _keys(plan)
    (plan.project / "charter.toml").write_text(_charter(plan, keys))
    for part in plan.phases:
        (plan.project / part.file).write_text(part.recipe if part.recipe is not None else _recipe())
    if plan.more:
        plan.more(plan.project)
    return count


def _copy(source: Path, target: Path, *, fresh: bool, packages: bool) -> int:
    """The sources below ``source``, tests left out. What an earlier demo copied is used again."""
    if target.is_dir() and not fresh:
        return sum(1 for _ in target.rglob("*.py"))
    shutil.rmtree(target, ignore_errors=True)
    count = 0
    for parent, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith(".") and packages)
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
    seconds = plan.seconds * max(2, cores)
    return CHARTER.format(
        purpose=plan.purpose,
        phases="".join(_phase(part, plan.env) for part in plan.phases),
        jail=f"jail = {plan.jail}\n" if plan.jail else "",
        device_seconds=seconds,
        flop=repr(1.25 * seconds * peak.of_this_machine()["flop_per_device_second"]),
        level=sandbox.level(),
        evidence=evidence,
        people=people,
    )


def _phase(part: Part, env: Mapping[str, str]) -> str:
    lines = [
        "[[phase]]", f'name = "{part.name}"', f"command = {json.dumps(list(part.command))}", f'data = ["{part.data}"]',
        "epochs = 1", *([f'recipe = "{part.file}"'] if part.file != "recipe.toml" else []),
        *([f"code = {json.dumps(list(part.code))}"] if part.code else []),
        *(["env = { " + ", ".join(f'{name} = "{value}"' for name, value in env.items()) + " }"] if env else []),
    ]  # fmt: skip
    return "\n".join(lines) + "\n\n"


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
