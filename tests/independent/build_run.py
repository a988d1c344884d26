"""Builds small run directories from docs/formats.md alone: the other half of the second verifier.

`Run` writes what a supervisor and its signatories would write, one method per event; every method takes overrides, so
that a test can write exactly one thing wrongly and sign it all the same. Keys are derived from names. Nothing here
imports the package or the verifier.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Json = Any
RUN_ID = "poet-7f3a9c21"
PROTECTIONS = [{"name": "network", "holds": False, "how": "not on this machine"}]
PREDICATES = {
    "consented": "urn:tenth:consent:v1",
    "objected": "urn:tenth:objection:v1",
    "adjusted": "urn:tenth:adjustment:v1",
    "reopened": "urn:tenth:reopening:v1",
    "closed": "urn:tenth:closing:v1",
}


def encode(value: Json) -> bytes:
    """Canonical JSON of what these tests use: ASCII keys, integers, floats that Python spells like ECMAScript."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def base(data: bytes) -> str:
    return base64.b64encode(data).decode()


def key_of(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"tenth, independent tests: " + name.encode()).digest())


def raw_public(name: str) -> bytes:
    return key_of(name).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def public_blob(name: str) -> bytes:
    return b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + raw_public(name)


def public_line(name: str, comment: str = "") -> str:
    return f"ssh-ed25519 {base(public_blob(name))}" + (f" {comment}" if comment else "")


def tree_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as its definition reads, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def leaf_hash(line: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + line).digest()


def head_note(run: str, size: int, root: bytes, key: str = "log") -> bytes:
    """A C2SP tlog-checkpoint with one signature."""
    origin = f"tenth/{run}"
    text = f"{origin}\n{size}\n{base(root)}\n".encode()
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + raw_public(key)).digest()[:4]
    return text + f"\n\u2014 {origin} {base(key_id + key_of(key).sign(text))}\n".encode()


def write_log(path: Path, lines: list[bytes], run: str = RUN_ID, key: str = "log") -> None:
    """A whole log, one head per entry. Incremental, because long logs are built too."""
    peaks: list[tuple[int, bytes]] = []
    heads = []
    for size, line in enumerate(lines, 1):
        peaks.append((1, leaf_hash(line)))
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (_, right), (count, left) = peaks.pop(), peaks.pop()
            peaks.append((count * 2, hashlib.sha256(b"\x01" + left + right).digest()))
        root = peaks[-1][1]
        for _, peak in reversed(peaks[:-1]):
            root = hashlib.sha256(b"\x01" + peak + root).digest()
        heads.append(head_note(run, size, root, key))
    (path / "log").mkdir(parents=True, exist_ok=True)
    (path / "log/entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (path / "log/heads").write_bytes(b"".join(heads))


def folder_digest(folder: Path) -> str:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rows = [{"path": name, "sha256": digest(data), "size": len(data)} for name, data in files.items()]
    return digest(encode(sorted(rows, key=lambda row: str(row["path"]).encode())))


def envelope(statement: Json, key: str, *, payload: bytes | None = None) -> Json:
    """A DSSE envelope signed by the key of that name."""
    body = encode(statement) if payload is None else payload
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    keyid = "SHA256:" + base(hashlib.sha256(public_blob(key)).digest()).rstrip("=")
    signatures = [{"keyid": keyid, "sig": base(key_of(key).sign(signed))}]
    return {"payload": base(body), "payloadType": kind.decode(), "signatures": signatures}


def toml_text(table: dict[str, Json]) -> str:
    """TOML of nested tables of numbers, strings and booleans."""

    def lines(table: dict[str, Json], name: str) -> list[str]:
        here = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
        head = [f"[{name}]"] if name else []
        nested = [(f"{name}.{key}" if name else key, value) for key, value in table.items() if isinstance(value, dict)]
        return head + here + [line for key, value in nested for line in lines(value, key)]

    return "\n".join(lines(table, "")) + "\n"


CHARTER = """\
[run]
name = "poet"
purpose = "Tests of the second verifier."
{phases}
[gates]
every = "1/{parts} epoch"
consent = "unanimous"

[ceiling]
device_seconds = {device_seconds}
flop = {flop}

[quarantine]
level = "none"

[watch]
samples_per_minute = 20
unwatched = "go"
prompts = ["def "]
{evidence}{people}"""
PHASE = '\n[[phase]]\nname = "{name}"\ncommand = ["true"]\ndata = ["{name}"]\nepochs = {epochs}\nrecipe = "{recipe}"\n'
EVIDENCE = '\n[[evidence]]\nname = "{name}"\ncommand = ["true"]\n'
PERSON = '\n[[{role}]]\nname = "{name}"\nkey = "{key}"\n'


class Run:
    """A run directory in the making. `save()` writes the log; everything else is written as it happens."""

    def __init__(
        self,
        path: Path,
        *,
        run: str = RUN_ID,
        signatories: tuple[str, ...] = ("ada", "ben", "cyd"),
        watchers: tuple[str, ...] = ("lin",),
        keys: dict[str, str] | None = None,  # name -> whose key; for one key under two names
        phases: tuple[tuple[str, int, str], ...] = (("pretrain", 1, "recipe.toml"), ("sft", 1, "sft.toml")),
        parts: int = 10,
        device_seconds: float = 1000,
        flop: str = "1e15",
        evidence: tuple[str, ...] = ("bpb",),
        extra: str = "",  # appended to the charter
        opened: Json = None,  # overrides
    ) -> None:
        self.path, self.run, self.signatories, self.phases, self.parts = path, run, signatories, phases, parts
        self.ceiling = {"device_seconds": device_seconds, "flop": int(float(flop))}
        self.required = list(evidence)
        self.lines: list[bytes] = []
        self.gate, self.stance, self.entered, self.clock = 0, "nothing", "", 0
        self.spent: Json = {"device_seconds": 0, "flop": 0}
        self.claims: Json = {}
        self.position: Json = None
        self.checkpoint: Json = None
        self.seals: list[int] = []
        self.halts: tuple[list[Json], list[Json]] = ([], [])
        self.samples: tuple[list[Json], list[Json]] = ([], [])
        self.adjustments: list[str] = []
        self.exclusions, self.shards, self.frozen = 0, 0, False
        path.mkdir(parents=True, exist_ok=True)
        people = [("signatory", name) for name in signatories] + [("watcher", name) for name in watchers]
        lines = {name: public_line((keys or {}).get(name, name), name) for _, name in people}
        charter = CHARTER.format(
            phases="".join(PHASE.format(name=name, epochs=epochs, recipe=recipe) for name, epochs, recipe in phases),
            parts=parts,
            device_seconds=device_seconds,
            flop=flop,
            evidence="".join(EVIDENCE.format(name=name) for name in evidence),
            people="".join(PERSON.format(role=role, name=name, key=lines[name]) for role, name in people),
        )
        self.charter = self.write("charter.toml", (charter + extra).encode())
        self.recipes = {
            recipe: {"depth": 4, "optim": {"lr": 0.001, "name": f"adamw-{name}"}} for name, _, recipe in phases
        }
        self.versions = dict.fromkeys(self.recipes, 1)
        recipes = {name: self.write(name, toml_text(value).encode()) for name, value in self.recipes.items()}
        self.listings = {name: self.listing_of(name) for name, _, _ in phases}
        data = {name: self.write(f"data.{name}.jsonl", b"".join(rows)) for name, rows in self.listings.items()}
        self.manifest = self.write("manifest.json", encode(self.manifest_of(data)))
        private = key_of("log").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        (path / "supervisor.key").write_bytes(private)
        body = {"version": 1, "run": run, "nonce": "0123456789abcdef" * 2, "log_key": public_line("log")}
        body |= {"charter": self.charter, "manifest": self.manifest, "recipes": recipes, "data": data}
        self.append("opened", body | (opened or {}), to="GATHERING")

    # files

    def write(self, name: str, data: bytes) -> str:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return digest(data)

    def listing_of(self, phase: str) -> list[bytes]:
        rows = [{"path": f"{phase}/{i:02d}.py", "sha256": digest(f"{phase}{i}".encode()), "size": i} for i in range(5)]
        return [encode(row) + b"\n" for row in rows]

    def manifest_of(self, data: dict[str, str]) -> Json:
        rows = [
            {"phase": name, "path": f"data.{name}.jsonl", "digest": data[name], "files": 5, "bytes": 0 + 1 + 2 + 3 + 4}
            for name, _, _ in self.phases
        ]
        code = [{"path": "model.py", "digest": digest(b"code")}]
        manifest = {"version": 1, "data": rows, "code": code, "packages": ["torch==2.13.0"]}
        return manifest | {"machine": {"cpu": "test"}, "protections": PROTECTIONS, "probes": []}

    def save(self, *, key: str = "log") -> Path:
        write_log(self.path, self.lines, self.run, key)
        return self.path

    # the log

    def append(self, event: str, body: Json, *, to: str | None = None, **changes: Json) -> str:
        """One entry; `to` is the state that it leads into. Returns its leaf digest."""
        self.clock += 1
        time = f"2026-11-21T09:{self.clock // 60 % 60:02d}:{self.clock % 60:02d}.123Z"
        entry = {"body": body, "event": event, "index": len(self.lines), "time": time} | changes
        return self.append_line(encode(entry), to)

    def append_line(self, line: bytes, to: str | None = None) -> str:
        self.lines.append(line)
        leaf = leaf_hash(line).hex()
        if to is not None and to != self.stance:
            self.stance, self.entered = to, leaf
        return leaf

    def root(self) -> str:
        return tree_root([leaf_hash(line) for line in self.lines]).hex()

    # where the run is

    @property
    def gates(self) -> int:
        return sum(epochs for _, epochs, _ in self.phases) * self.parts

    def tenth(self) -> tuple[str, str, int, int]:
        """Phase, recipe, epoch and tenth of the next lease (of the last one at the last gate)."""
        slots = [
            (name, recipe, epoch + 1, tenth + 1)
            for name, epochs, recipe in self.phases
            for epoch in range(epochs)
            for tenth in range(self.parts)
        ]
        return slots[min(self.gate, len(slots) - 1)]

    def recipe_file(self, name: str) -> str:
        version = self.versions[name]
        return name if version == 1 else name.replace(".toml", f".{version}.toml")

    def listing_file(self, phase: str) -> str:
        return f"data.{phase}.jsonl" if not self.exclusions else f"data.{phase}.{self.exclusions + 1}.jsonl"

    # events, one method each

    def seal(self, *, spend: float = 1, dossier: Json = None, lease: Json = None, body: Json = None) -> str:
        """Evidence, dossier and `sealed`; the keyword arguments override fields of each."""
        count = self.seals.count(self.gate) + 1
        path = f"gates/{self.gate:02d}" + (f".{count}" if count > 1 else "")
        rows = []
        for name in self.required if self.checkpoint else []:  # without a checkpoint there is nothing to measure
            where = f"{path}/evidence/{name}"
            self.write(f"{where}/result.json", encode({"bits_per_byte": 1.5, "gate": self.gate}))
            self.write(f"{where}/tables/more.txt", b"more\n")
            self.write(f"{where}/summary.json", b'{ "headline": "fine" }')
            rows.append(
                {
                    "name": name,
                    "path": where,
                    "digest": folder_digest(self.path / where),
                    "device_seconds": 0.5,
                    "surprised": False,
                }
            )
        self.spent = self.spent | {"device_seconds": self.spent["device_seconds"] + spend}
        self.dossier = self.dossier_of(rows) | (dossier or {})
        if lease is not None:
            self.dossier["proposal"] = {"lease": self.dossier["proposal"]["lease"] | lease}
        self.dossier_digest = self.write(f"{path}/dossier.json", encode(self.dossier))
        self.seals.append(self.gate)
        self.seal_path, self.words = path, {}
        sealed = {"gate": self.gate, "path": path, "dossier": self.dossier_digest, "spent": self.spent}
        return self.append("sealed", sealed | (body or {}), to="GATE")

    def dossier_of(self, evidence: list[Json]) -> Json:
        phase, recipe, _, _ = self.tenth()
        named = {
            "charter": self.charter,
            "recipe": digest((self.path / self.recipe_file(recipe)).read_bytes()),
            "data": digest((self.path / self.listing_file(phase)).read_bytes()),
            "manifest": self.manifest,
            "checkpoint": self.checkpoint,
        }
        return named | {
            "version": 1,
            "run": self.run,
            "gate": self.gate,
            "seal": len(self.seals),
            "log": {"size": len(self.lines), "root": self.root()},
            "position": self.position,
            "frozen": self.frozen,
            "spent": self.spent,
            "ceiling": self.ceiling,
            "evidence": evidence,
            "samples": self.samples[0] + self.samples[1],
            "halts": self.halts[0] + self.halts[1],
            "adjustments": self.adjustments,
            "protections": PROTECTIONS,
            "claims": self.claims,
            "proposal": self.proposal(),
        }

    def proposal(self) -> Json:
        if self.gate >= self.gates:
            return {"release": True}
        phase, _, epoch, tenth = self.tenth()
        resume = "thaw" if self.frozen else "checkpoint" if self.checkpoint else "fresh"
        lease = {"gate": self.gate + 1, "phase": phase, "epoch": epoch, "tenth": tenth, "of": self.parts}
        limits = {
            "device_seconds": min(self.spent["device_seconds"] + 100, self.ceiling["device_seconds"]),
            "flop": min(self.spent["flop"] + 100_000_000_000_000, self.ceiling["flop"]),
        }
        return {"lease": lease | {"resume": resume} | limits}

    def anchor(self) -> str:
        return self.dossier_digest if self.stance == "GATE" else self.entered

    def statement(self, event: str, who: str, **changes: Json) -> Json:
        """The in-toto statement of an event; changes go to the key of that name, else to the predicate."""
        if event in ("consented", "objected"):
            named = [("dossier", self.dossier_digest)]
            named += [(name, self.dossier[name]) for name in ("charter", "recipe", "data", "manifest")]
            if self.dossier["checkpoint"]:
                named.append(("checkpoint", self.dossier["checkpoint"]["digest"]))
        else:
            named = [("anchor", self.anchor())]
        predicate = {"run": self.run, "signatory": who, "anchor": self.anchor(), "note": ""}
        predicate["time"] = "2026-11-21T09:00:00.000Z"
        statement: Json = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": value}} for name, value in named],
            "predicateType": PREDICATES[event],
            "predicate": predicate,
        }
        for name, value in changes.items():
            (statement if name in statement else predicate)[name] = value
        return statement

    def say(self, event: str, who: str, *, key: str | None = None, edit: Json = None, **changes: Json) -> Json:
        """A signed word at the gate, with its copy under `consents/`. Returns the envelope."""
        signed = envelope(self.statement(event, who, **changes), key or who) | (edit or {})
        self.append(event, {"envelope": signed})
        self.write(f"{self.seal_path}/consents/{who}.json", encode(signed))
        return signed

    def consent_all(self, *, but: str = "") -> None:
        for name in self.signatories:
            if name != but:
                self.say("consented", name)

    def adjust(self, who: str, patch: Json, *, key: str | None = None, write: bool = True) -> None:
        body = {"envelope": envelope(self.statement("adjusted", who, patch=patch), key or who)}
        _, name, _, _ = self.tenth()
        self.adjustments.append(self.append("adjusted", body, to="GATHERING"))
        if "recipe" in patch:
            self.versions[name] += 1
            for dotted, value in patch["recipe"].items():
                table = self.recipes[name]
                *tables, last = dotted.split(".")
                for each in tables:
                    table = table.setdefault(each, {})
                table[last] = value
            self.frozen = False
            if write:
                self.write(self.recipe_file(name), toml_text(self.recipes[name]).encode())
        if "exclude" in patch:
            self.exclusions += 1
            self.frozen = False
            for phase, rows in self.listings.items():
                kept = [
                    row
                    for row in rows
                    if not any(fnmatch.fnmatchcase(json.loads(row)["path"], glob) for glob in patch["exclude"])
                ]
                self.listings[phase] = kept
                self.write(self.listing_file(phase), b"".join(kept if write else rows))
        change = patch.get("evidence", {})
        self.required = [each for each in self.required if each not in change.get("drop", [])]
        self.required += [row["name"] for row in change.get("add", [])]

    def lease(self, **changes: Json) -> None:
        body = {"dossier": self.dossier_digest, "lease": self.dossier["proposal"].get("lease")}
        self.append("leased", body | changes, to="RUNNING")
        self.frozen, self.reserved = False, self.spent["device_seconds"]

    def meter(self, seconds: float = 0, flop: int = 0, *, reserve: float = 10, spent: Json = None) -> None:
        """Written ahead: `reserve` is how far the next one may go."""
        now = {"device_seconds": self.spent["device_seconds"] + seconds, "flop": self.spent["flop"] + flop}
        self.spent = now if spent is None else spent
        self.reserved = self.spent["device_seconds"] + reserve
        self.claims = {"step": len(self.lines), "loss": 2.5}
        body = {"spent": self.spent, "reserved_device_seconds": self.reserved, "claims": self.claims}
        self.append("metered", body)

    def shard(self, count: int = 3) -> Json:
        self.shards += 1
        name = f"samples/{self.shards:06d}.jsonl"
        data = b"".join(encode({"prompt": "def ", "text": f"f{i}():"}) + b"\n" for i in range(count))
        return {"path": name, "sha256": self.write(name, data), "count": count}

    def sample(self, **changes: Json) -> None:
        row = self.shard() | changes
        self.append("sampled", row)
        self.samples[1].append(row)

    def reach(self, *, seconds: float = 1, write: bool = True, **changes: Json) -> None:
        self.spent = {"device_seconds": self.spent["device_seconds"] + seconds, "flop": self.spent["flop"] + 10_000}
        gate = changes.get("gate", self.gate + 1)
        where = f"checkpoints/{gate:02d}"
        if write:
            self.write(f"{where}/model.safetensors", b"weights" * gate)
            self.write(f"{where}/state/state.json", encode({"step": gate}))
        self.gate, self.position, self.claims = gate, {"step": gate}, {"step": gate, "loss": 1.25}
        self.checkpoint = {"path": where, "digest": folder_digest(self.path / where)}
        body = {"gate": gate, "checkpoint": self.checkpoint, "position": self.position}
        body |= {"spent": self.spent, "claims": self.claims}
        self.append("reached", body | changes, to="GATHERING")
        self.halts, self.samples = (self.halts[1], []), (self.samples[1], [])

    def pull(self, *, frozen: bool | None = None, seconds: float = 0.25, name: str | None = "lin") -> None:
        self.frozen = self.stance == "RUNNING" or self.frozen if frozen is None else frozen
        self.spent = self.spent | {"device_seconds": self.spent["device_seconds"] + seconds}
        body = {"by": {"name": name, "uid": 1000}, "frozen": self.frozen, "spent": self.spent}
        body["stopped_ms"] = 3.5 if self.stance == "RUNNING" else None
        self.halts[1].append({"index": len(self.lines), "event": "pulled", "reason": None})
        self.append("pulled", body, to="HALTED")

    def trip(self, reason: str = "crash", **changes: Json) -> None:
        if reason == "lost_supervisor" and self.stance == "RUNNING":
            self.spent = self.spent | {"device_seconds": self.reserved}
        body = {"reason": reason, "detail": "as a test", "spent": self.spent} | changes
        self.frozen = self.frozen and self.stance != "RUNNING" and reason != "lost_supervisor"
        self.halts[1].append({"index": len(self.lines), "event": "tripped", "reason": reason})
        self.append("tripped", body, to="HALTED")

    def reopen(self, who: str, *, key: str | None = None, **changes: Json) -> None:
        body = {"envelope": envelope(self.statement("reopened", who, **changes), key or who)}
        self.append("reopened", body, to="GATHERING")

    def abandon(self, who: str, *, key: str | None = None, **changes: Json) -> None:
        body = {"outcome": "abandoned", "envelope": envelope(self.statement("closed", who, **changes), key or who)}
        self.append("closed", body, to="CLOSED")

    def release(self, **changes: Json) -> None:
        self.append("closed", {"outcome": "released", "dossier": self.dossier_digest} | changes, to="CLOSED")

    # stretches of a story

    def start(self, *, meters: int = 2) -> None:
        """From GATHERING into the middle of a lease."""
        self.seal()
        self.consent_all()
        self.lease()
        self.meter(reserve=10)
        for _ in range(meters - 1):
            self.meter(0.0005, 10, reserve=10)

    def tenths(self, to: int) -> None:
        """From GATHERING through quiet leases to GATHERING at a later gate."""
        while self.gate < to:
            self.start()
            self.reach()

    def one_tenth(self, *, meters: int = 2) -> None:
        """From GATHERING through one lease to the next GATHERING."""
        self.start(meters=meters)
        self.sample()
        self.reach()


def full_story(run: Run) -> None:
    """Every event, every kind of halt, every kind of adjustment; ends released."""
    run.one_tenth()
    run.seal()  # gate 1: an objection withdrawn, a cord, a thaw
    run.say("objected", "ben", note="wait")
    run.say("consented", "ada")
    run.say("consented", "cyd")
    run.say("consented", "ben")
    run.lease()
    run.meter()
    run.meter(5, 500)
    run.pull()
    run.pull(name=None)
    run.reopen("ada")
    run.seal()
    run.consent_all()
    run.lease()
    run.meter()
    run.sample()
    run.reach()
    run.tenths(10)
    run.seal()  # gate 10, another phase: adjustments at the gate and while halted, a crash, a lost supervisor
    run.say("consented", "ada")
    added = {"drop": ["bpb"], "add": [{"name": "probe", "command": ["probe"]}]}
    run.adjust(
        "ben", {"recipe": {"optim.lr": 0.0005, "new.table.key": True}, "exclude": ["sft/0[01].py"], "evidence": added}
    )
    run.start()
    run.sample()
    run.trip("crash")
    run.adjust("cyd", {"recipe": {"depth": 6}})
    run.start()
    run.trip("lost_supervisor")
    run.reopen("ben")
    run.one_tenth()
    run.pull(frozen=False)  # while gathering
    run.adjust("ada", {"exclude": ["pretrain/04.py"]})
    run.one_tenth()
    run.tenths(20)
    run.seal()  # the last gate
    run.consent_all()
    run.release()


def plain_story(run: Run) -> None:
    """No incident, left waiting at a gate."""
    run.one_tenth()
    run.seal()
    run.say("consented", "ada")


def running_story(run: Run) -> None:
    run.one_tenth()
    run.start()
    run.sample()


def halted_story(run: Run) -> None:
    run.start()
    run.pull()


def abandoned_story(run: Run) -> None:
    run.seal()
    run.say("objected", "cyd", note="not like this")
    run.abandon("cyd")


def opened_story(run: Run) -> None:
    """Nothing but entry 0."""
    assert run.stance == "GATHERING"


STORIES = {
    "full": full_story,
    "plain": plain_story,
    "running": running_story,
    "halted": halted_story,
    "abandoned": abandoned_story,
    "opened": opened_story,
}


def fresh(path: Path, **options: Json) -> Run:
    """A new run where there may have been another."""
    shutil.rmtree(path, ignore_errors=True)
    return Run(path, **options)


def build(path: Path, *, story: str = "full", **options: Json) -> Path:
    """A valid run directory at `path`; `options` are those of `Run`."""
    run = fresh(path, **options)
    STORIES[story](run)
    return run.save()


def build_long(path: Path, entries: int, **options: Json) -> Path:
    """A valid run of at least so many entries, most of them `metered`, one head each."""
    run = fresh(path, **options)
    run.start(meters=entries)
    return run.save()
