"""What was agreed: the charter, from TOML to frozen dataclasses. docs/charter.md is the reference of its keys.

Strict: an unknown, missing or ill-typed key is an error that says where it stands and names the nearest known one.
Nothing overrides a charter, neither flags nor the environment.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenth.encoding import digest
from tenth.errors import BadCharter, BadKey, WrongInput
from tenth.keys import PublicKey

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
LEVELS = ("none", "partial", "full")


@dataclass(frozen=True)
class Phase:
    """One phase of training: a command over some data, for some epochs."""

    name: str
    command: tuple[str, ...]
    data: tuple[str, ...]
    epochs: int
    recipe: str
    code: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Compute:
    """An amount of compute, cumulative over a run."""

    device_seconds: float
    """Seconds of one processor core (or of one granted accelerator), measured from outside the trainer."""
    flop: float
    """Floating-point operations, at most: device-seconds times the measured peak of a device."""

    def __le__(self, other: Compute) -> bool:
        return self.device_seconds <= other.device_seconds and self.flop <= other.flop

    def largest(self, other: Compute) -> Compute:
        return Compute(max(self.device_seconds, other.device_seconds), max(self.flop, other.flop))

    def record(self) -> dict[str, float]:
        return {"device_seconds": self.device_seconds, "flop": self.flop}


def compute(value: Any) -> Compute:
    if not isinstance(value, dict) or value.keys() != {"device_seconds", "flop"}:
        raise WrongInput("this amount of compute is refused", repr(value)[:100], "it has device_seconds and flop")
    return Compute(number(value["device_seconds"]), number(value["flop"]))


def number(value: Any) -> float:
    """A finite number, not below zero."""
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise WrongInput("this number is refused", repr(value)[:60], "a finite number of at least 0")
    return float(value)


@dataclass(frozen=True)
class Quarantine:
    """How the trainer is kept in."""

    level: str
    silence_seconds: float
    loopback: bool
    """May its processes talk with each other over a network interface that leads nowhere else?"""
    processes: int
    """How many processes and threads it may have at once."""
    memory_bytes: float
    """Of all its processes together."""
    output_bytes: float
    """In its work folder and in what it printed."""
    gpus: tuple[int, ...]
    """Numbers of the accelerators that its processes may use."""
    jail: int
    """How many processes beside it run the programs that its model writes (tenth.jail); 0 for none."""


@dataclass(frozen=True)
class Seal:
    """What lies encrypted between gates (promise 14)."""

    checkpoints: bool
    escrow: PublicKey | None
    """Whoever has this key can open every checkpoint alone."""


@dataclass(frozen=True)
class Watch:
    """What the people who watch are shown."""

    samples_per_minute: float
    unwatched: str
    prompts: tuple[str, ...]
    alarms: tuple[str, ...]
    """What the trainer reports whose alarms pull the cord, where 'tenth run' watches it (docs/evidence.md)."""


@dataclass(frozen=True)
class Evidence:
    """A command that writes one part of every dossier."""

    name: str
    command: tuple[str, ...]
    timeout_seconds: float


@dataclass(frozen=True)
class Tenth:
    """One lease's worth of training, counted from 1."""

    gate: int
    """The gate this tenth leads to."""
    phase: Phase
    epoch: int
    tenth: int
    of: int


@dataclass(frozen=True)
class Charter:
    """The agreement of one run."""

    name: str
    purpose: str
    phases: tuple[Phase, ...]
    gates_per_epoch: int
    ceiling: Compute
    quarantine: Quarantine
    seal: Seal
    watch: Watch
    evidence: tuple[Evidence, ...]
    signatories: Mapping[str, PublicKey]
    watchers: Mapping[str, PublicKey]
    witnesses: Mapping[str, PublicKey]
    """Who keeps the heads of the log elsewhere and cosigns them (docs/witnesses.md)."""
    digest: str
    source: bytes = field(repr=False)

    @property
    def gates(self) -> int:
        """How many tenths there are in all: the number of the last gate."""
        return sum(phase.epochs for phase in self.phases) * self.gates_per_epoch

    def tenth_after(self, gate: int) -> Tenth | None:
        """The tenth that a lease from ``gate`` trains; None at the last gate."""
        epochs, tenth = divmod(gate, self.gates_per_epoch)
        for phase in self.phases:
            if epochs < phase.epochs:
                return Tenth(gate + 1, phase, epochs + 1, tenth + 1, self.gates_per_epoch)
            epochs -= phase.epochs
        return None


# --- reading ---------------------------------------------------------------------------------------------------------

REQUIRED = object()
Check = Callable[[Any], Any]
"""Takes the TOML value, returns what the charter holds; raises ValueError with what was wanted."""


def _must(wanted: str, test: Check, make: Check = lambda value: value) -> Check:
    """A check: the value must pass ``test``, and is kept as ``make`` gives it."""

    def check(value: Any) -> Any:
        if not test(value):
            raise ValueError(wanted)
        return make(value)

    return check


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text and "\0" not in text for text in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(one) is int and 0 <= one < 64 and value.count(one) == 1 for one in value
    )


def _env(value: Any) -> bool:
    """Texts under names that a shell could use, none of them ours."""
    named = isinstance(value, dict) and all(re.fullmatch(r"(?!TENTH_)[A-Za-z_][A-Za-z0-9_]*", name) for name in value)
    return named and all(isinstance(text, str) and "\0" not in text for text in value.values())


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value)


def _key(value: Any) -> PublicKey:
    try:
        return PublicKey.parse(value if isinstance(value, str) else "")
    except BadKey as error:
        raise ValueError(f"{error.do} ({error.refused})") from None


def _persons_key(value: Any) -> PublicKey:
    try:
        return PublicKey.of_person(value if isinstance(value, str) else "")
    except BadKey as error:
        raise ValueError(f"{error.do} ({error.refused})") from None


def _one_of(*choices: str) -> Check:
    return _must("one of " + ", ".join(map(repr, choices)), lambda value: value in choices)


PURPOSE = _must("a text of 1 to 10,000 characters", lambda v: isinstance(v, str) and v.strip() and len(v) <= 10_000)
A_NAME = _must("a name: a lower-case letter, then at most 31 letters, digits, '-' or '_'", _matches(NAME.pattern))
A_LIST = _must("a list of texts", _texts, tuple)
SOME = _must("a list of at least one text", lambda value: _texts(value) and value, tuple)
COUNT = _must("a whole number from 1 to 10,000", lambda value: type(value) is int and 1 <= value <= 10_000)
NUMBERS = _must("a list of different whole numbers from 0 to 63", _numbers, tuple)
ABOVE_0 = _must("a number above 0", lambda value: _real(value) and value > 0, float)
FROM_0 = _must("a number of at least 0", lambda value: _real(value) and value >= 0, float)
FROM_1 = _must("a number of at least 1", lambda value: _real(value) and value >= 1, float)
ENV = _must("a table of texts under names of variables, none beginning with TENTH_", _env)
EVERY = _must(
    "'1/N epoch' with N from 10 to 9999: a gate after each tenth, or more often",
    _matches(r"1/[1-9][0-9]{1,3} epoch"),
    lambda value: int(value[2:-6]),
)
YES_NO = _must("true or false", lambda value: isinstance(value, bool))
RECIPE = _must("the name of a .toml file beside the charter", _matches(r"(?!charter\.)[A-Za-z0-9_-]{1,64}\.toml"))

_PERSON: dict[str, tuple[Check, Any]] = {"name": (A_NAME, REQUIRED), "key": (_key, REQUIRED)}
SCHEMA: dict[str, dict[str, tuple[Check, Any]]] = {
    "run": {"name": (A_NAME, REQUIRED), "purpose": (PURPOSE, REQUIRED)},
    "phase": {
        "name": (A_NAME, REQUIRED),
        "command": (SOME, REQUIRED),
        "data": (SOME, REQUIRED),
        "epochs": (COUNT, 1),
        "recipe": (RECIPE, "recipe.toml"),
        "code": (A_LIST, ()),
        "env": (ENV, {}),
    },
    "gates": {"every": (EVERY, 10), "consent": (_one_of("unanimous"), "unanimous")},
    "ceiling": {"device_seconds": (ABOVE_0, REQUIRED), "flop": (ABOVE_0, REQUIRED)},
    "quarantine": {
        "level": (_one_of(*LEVELS), REQUIRED),
        "silence_seconds": (FROM_1, 120.0),
        "loopback": (YES_NO, False),
        "processes": (COUNT, 1000),
        "memory_bytes": (ABOVE_0, float("inf")),
        "output_bytes": (ABOVE_0, 1e11),
        "gpus": (NUMBERS, ()),
        "jail": (COUNT, 0),
    },
    "seal": {"checkpoints": (YES_NO, False), "escrow": (_key, None)},
    "watch": {
        "samples_per_minute": (FROM_0, 20.0),
        "unwatched": (_one_of("wait", "go"), "go"),
        "prompts": (A_LIST, ()),
        "alarms": (A_LIST, ()),
    },
    "evidence": {"name": (A_NAME, REQUIRED), "command": (SOME, REQUIRED), "timeout_seconds": (FROM_1, 600.0)},
    "signatory": {**_PERSON, "key": (_persons_key, REQUIRED)},
    "watcher": _PERSON,
    "witness": _PERSON,
}
"""Every table and key there is: how it is checked, and its default."""

LISTS = {"phase": 1, "evidence": 0, "signatory": 1, "watcher": 0, "witness": 0}
"""Tables written with double brackets, and how many there must be."""

OPTIONAL = ("gates", "seal", "watch")
"""Single tables that may be left out, since each of their keys has a default."""


def parse(source: bytes) -> Charter:
    """The charter in ``source`` (TOML, UTF-8). Raises BadCharter."""
    try:
        document = tomllib.loads(source.decode())
    except (ValueError, RecursionError) as error:
        raise BadCharter("the charter is not TOML", str(error)[:300], "mend the line it names") from None
    _known("table", "the charter", document, SCHEMA)
    tables = {name: _tables(name, document) for name in SCHEMA}
    one = {name: rows[0] for name, rows in tables.items() if name not in LISTS}
    for name in ("phase", "evidence"):
        _distinct(f"[[{name}]]", [row["name"] for row in tables[name]])
    escrow = [{"name": "escrow", "key": key}] if (key := one["seal"]["escrow"]) else []
    groups = (*(tables[name] for name in ("signatory", "watcher", "witness")), escrow)
    signatories, watchers, witnesses, _ = _people(*groups)
    passkeys = [name for name, key in signatories.items() if key.site]
    if one["seal"]["checkpoints"] and passkeys:
        found = f"{', '.join(passkeys)} would hold a share with a passkey, which opens nothing"
        raise BadCharter("the charter is refused", found, "give them key files, or leave checkpoints open")
    phases = tuple(Phase(**row) for row in tables["phase"])
    panels = tuple(Evidence(**row) for row in tables["evidence"])
    kinds: dict[str, Any] = {"ceiling": Compute, "quarantine": Quarantine, "seal": Seal, "watch": Watch}
    parts = {name: make(**one[name]) for name, make in kinds.items()}
    return Charter(
        **one["run"], **parts, phases=phases, gates_per_epoch=one["gates"]["every"], evidence=panels,
        signatories=signatories, watchers=watchers, witnesses=witnesses, digest=digest(source), source=source,
    )  # fmt: skip


def _tables(name: str, document: dict[str, Any]) -> list[dict[str, Any]]:
    listed = name in LISTS
    where = f"[[{name}]]" if listed else f"[{name}]"
    rows = document.get(name, [] if listed else ({} if name in OPTIONAL else None))
    if rows is None:
        raise BadCharter("the charter is refused", f"{where} is missing", "add it; 'tenth init' writes an example")
    if isinstance(rows, list) is not listed:
        raise BadCharter("the charter is refused", f"'{name}' is not written as {where}", f"write {where}")
    rows = rows if listed else [rows]
    if len(rows) < LISTS.get(name, 1):
        raise BadCharter("the charter is refused", f"there is no {where}", "add at least one")
    return [_row(where, row, SCHEMA[name]) for row in rows]


def _row(where: str, row: Any, schema: dict[str, tuple[Check, Any]]) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadCharter("the charter is refused", f"{where} is not a table", f"write {where}")
    _known("key", where, row, schema)
    result: dict[str, Any] = {}
    for key, (check, default) in schema.items():
        if key not in row:
            if default is REQUIRED:
                raise BadCharter("the charter is refused", f"{where} lacks '{key}'", f"add {key} = ...")
            result[key] = default
            continue
        try:
            result[key] = check(row[key])
        except ValueError as error:
            found = f"{where} {key} = {row[key]!r}"[:200]
            raise BadCharter("the charter is refused", found, f"it must be {error}") from None
    return result


def _known(kind: str, where: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean '{near[0]}'?" if near else "known are: " + ", ".join(known)
            raise BadCharter("the charter is refused", f"{where} has an unknown {kind} '{name}'", hint)


def _distinct(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadCharter("the charter is refused", f"two {where} are named '{name}'", "give each its own name")


def _people(*groups: list[dict[str, Any]]) -> tuple[dict[str, PublicKey], ...]:
    """Signatories, watchers, witnesses: no name twice, and no key under two names, or one person would count as two."""
    rows = [row for group in groups for row in group]
    _distinct("people", [row["name"] for row in rows])
    owner: dict[bytes, str] = {}
    for row in rows:
        other = owner.setdefault(row["key"].raw, row["name"])
        if other != row["name"]:
            found = f"'{other}' and '{row['name']}' have the same key ({row['key'].fingerprint})"
            raise BadCharter("the charter is refused", found, "each person signs with a key of their own")
    return tuple({row["name"]: row["key"] for row in group} for group in groups)
