#!/usr/bin/env python3
"""A second verifier: does this run directory keep the promises of its log, its law and its signatures?

Written from docs/formats.md (cited as §N) and the list of promises, sharing no code with the package, so that a
mistake would have to be made twice to go unseen. Needs Python 3.11 and `cryptography`, no network, no other file.

It does not vouch for what the log cannot hold: the time of an entry and the trainer's claims are claims, the data and
code outside the run directory are known by digest only, and whoever owns the log key *and* every signatory's key can
write any history.

Exit status: 0 verified, 5 does not verify (the first broken promise is printed), 1 unreadable or wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import fnmatch
import hashlib
import json
import math
import os
import re
import stat
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

Json = Any  # a parsed JSON or TOML value; every use is checked where it is read

LARGEST_INTEGER = 2**53 - 1
HEX64 = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
QUIET = ("metered", "sampled")  # a head that covers only these is bound by the root of a later one (§3)
REASONS = "ceiling lease limit escape silence crash claim frame alarm evidence data checkpoint lost_supervisor".split()
CHARTER_KEYS = {
    "run": "name purpose",
    "phase": "name command data epochs recipe code env",
    "gates": "every consent",
    "ceiling": "device_seconds flop",
    "seal": "checkpoints escrow",
    "quarantine": "level silence_seconds loopback processes memory_bytes output_bytes gpus jail",
    "watch": "samples_per_minute unwatched prompts alarms",
    "evidence": "name command timeout_seconds",
    "signatory": "name key",
    "watcher": "name key",
    "witness": "name key",
}
LAW = {  # §6: event -> the states in which it may happen
    "opened": ("nothing",),
    "sealed": ("GATHERING",),
    "consented": ("GATE",),
    "objected": ("GATE",),
    "adjusted": ("GATE", "HALTED"),
    "noted": ("GATHERING", "GATE", "RUNNING", "HALTED"),
    "leased": ("GATE",),
    "metered": ("RUNNING",),
    "sampled": ("RUNNING",),
    "reached": ("RUNNING",),
    "pulled": ("GATHERING", "GATE", "RUNNING", "HALTED"),
    "tripped": ("GATHERING", "GATE", "RUNNING"),
    "reopened": ("HALTED",),
    "closed": ("GATHERING", "GATE", "HALTED"),
}
PREDICATES = {
    "consented": "consent",
    "objected": "objection",
    "adjusted": "adjustment",
    "reopened": "reopening",
    "noted": "note",
}
DOSSIER_PROMISE = {"log": 7, "samples": 7, "spent": 4, "ceiling": 4, "claims": 4}  # the other keys: 9
DOSSIER_KEYS = (
    "adjustments ceiling charter checkpoint claims data evidence frozen gate halts log manifest position proposal "
    "protections recipe run samples seal spent version"
)


class Broken(Exception):
    """A promise is broken: its number, what was expected and found, and the entry where it shows."""

    def __init__(self, promise: int, what: str, entry: int | None = None) -> None:
        super().__init__(what)
        self.promise, self.what, self.entry = promise, what, entry


def equal(a: Json, b: Json) -> bool:
    """Equality of parsed values: 1 equals 1.0, but true does not equal 1, and NaN (TOML only) equals NaN."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b or (a != a and b != b))


def same(promise: int, label: str, expected: Json, found: Json) -> None:
    """Refuse unless what was found is what was expected."""
    if not equal(expected, found):
        raise Broken(promise, f"{label}: expected {brief(expected)}, found {brief(found)}")


def brief(value: Json) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 160 else text[:150] + "..."


def fields(value: Json, names: str, label: str, promise: int = 7) -> None:
    """Refuse unless `value` is an object with exactly these keys."""
    found = sorted(value) if isinstance(value, dict) else value
    same(promise, f"keys of {label}", sorted(names.split()), found)


def is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_compute(value: Json, label: str) -> None:
    if type(value) is not dict or len(value) != 2:
        raise Broken(7, f"{label}: expected device_seconds and flop, found {brief(value)}")
    for name in ("device_seconds", "flop"):
        if not is_number(value.get(name)) or value[name] < 0:
            raise Broken(7, f"{label}.{name}: expected a number from 0 up, found {brief(value.get(name))}")


# Canonical JSON (§1, RFC 8785)


def number_text(value: float) -> str:
    """ECMAScript Number::toString (ECMA-262 §6.1.6.1.20), from the shortest digits that Python's repr finds."""
    if not math.isfinite(value):
        raise ValueError("no such number in JSON")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))  # the spec's n
    digits = digits.rstrip("0")
    sign, count = "-" if value < 0 else "", len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = "." + digits[1:] if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


def canonical_text(value: Json) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))  # by UTF-16 code unit
        return "{" + ",".join(f"{canonical_text(key)}:{canonical_text(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_text, value)) + "]"
    if isinstance(value, float):
        return number_text(value)
    return json.dumps(value, ensure_ascii=False)


def parse_whole(token: str) -> int | float:
    """A digits-only token: an integer up to 2^53 - 1, beyond that a double as ECMAScript prints it (flop = 2.0e16)."""
    if len(token) > 15 and (len(token) > 22 or abs(int(token)) > LARGEST_INTEGER):
        value = parse_decimal(token)
        return int(token) if value == int(token) else value  # an int, where exact, spares read_json the slow encoder
    return int(token)


def parse_decimal(token: str) -> float:
    value = float(token)
    if number_text(value) != token:
        raise ValueError(f"number {brief(token)} is not spelt as ECMAScript spells it")
    return value


def no_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")


DECODE = json.JSONDecoder(parse_float=parse_decimal, parse_int=parse_whole, parse_constant=no_constant).decode
FAST = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def read_json(data: bytes, label: str, promise: int = 7) -> Json:
    """Parse bytes that must be canonical JSON. The C encoder decides the common case; numbers are checked one by one
    while parsing, so it can only be too strict (then the slow encoder decides) and never too lax."""
    try:
        text = data.decode("utf-8")
        value = DECODE(text)
        if (text.isascii() and FAST(value) == text) or canonical_text(value) == text:
            return value
    except (ValueError, RecursionError) as error:
        raise Broken(promise, f"{label}: expected canonical JSON, found {brief(str(error))}") from None
    raise Broken(promise, f"{label}: expected canonical JSON, found another spelling of it")


def unbase64(text: Json, label: str) -> bytes:
    """Standard base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise Broken(7, f"{label}: expected base64, found {brief(text)}") from None
    same(7, label, base64.b64encode(data).decode(), text)
    return data


# The log (§3)


class Tree:
    """RFC 6962 Merkle tree, kept as the roots of its complete subtrees."""

    def __init__(self) -> None:
        self.size, self.peaks = 0, list[bytes]()

    def push(self, leaf: bytes) -> None:
        self.size += 1
        count = self.size
        while not count & 1:
            leaf = hashlib.sha256(b"\x01" + self.peaks.pop() + leaf).digest()
            count >>= 1
        self.peaks.append(leaf)

    def root(self) -> bytes:
        if not self.peaks:
            return hashlib.sha256().digest()
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = hashlib.sha256(b"\x01" + peak + root).digest()
        return root


@dataclass(frozen=True, slots=True)
class Head:
    """One signed note: `text` is what the signature covers."""

    origin: str
    size: int
    root: bytes
    text: bytes
    key_id: bytes
    signature: bytes


def parse_head(lines: list[str], number: int) -> Head:
    origin, size, root, empty, signed = lines
    lead = f"\N{EM DASH} {origin} "
    if not re.fullmatch(r"[1-9]\d{0,14}", size, re.ASCII) or empty or not signed.startswith(lead):
        raise Broken(7, f"head {number}: expected a signed note of five lines, found {brief(lines)}")
    root_bytes, note = unbase64(root, f"root of head {number}"), unbase64(signed[len(lead) :], f"head {number}")
    if len(root_bytes) != 32 or len(note) != 68:
        raise Broken(7, f"head {number}: expected 32 and 68 bytes, found {len(root_bytes)} and {len(note)}")
    return Head(origin, int(size), root_bytes, f"{origin}\n{size}\n{root}\n".encode(), note[:4], note[4:])


def parse_key(line: Json) -> bytes:
    """The 32 bytes of an OpenSSH Ed25519 public key line (RFC 8709 §4)."""
    parts = line.split(" ", 2)
    blob = unbase64(parts[1], "public key")
    if parts[0] != "ssh-ed25519" or len(blob) != 51 or blob[:19] != b"\0\0\0\x0bssh-ed25519\0\0\0\x20":
        raise ValueError(f"not an Ed25519 key: {brief(line)}")
    return blob[19:]


def parse_persons_key(line: Json) -> bytes | tuple[bytes, bytes]:
    """An Ed25519 key; or a passkey (§4): its P-256 point and its site."""
    kind = b"sk-ecdsa-sha2-nistp256@openssh.com"
    if line.split(" ", 1)[0] != kind.decode():
        return parse_key(line)
    left, parts = unbase64(line.split(" ")[1], "passkey"), []
    while left:
        length = int.from_bytes(left[:4], "big")
        if len(left) < 4 + length:
            raise ValueError(f"not a passkey: {brief(line)}")
        parts.append(left[4 : 4 + length])
        left = left[4 + length :]
    label = rb"[a-z0-9-]{1,63}"
    if (
        parts[:2] != [kind, b"nistp256"]
        or len(parts) != 4
        or not re.fullmatch(rb"%b(\.%b){0,8}" % (label, label), parts[3])
    ):
        raise ValueError(f"not a passkey: {brief(line)}")
    if len(parts[2]) != 65:
        raise ValueError(f"not an uncompressed point: {brief(line)}")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), parts[2])
    return parts[2], parts[3]


def passkey_holds(point: bytes, site: bytes, signature: bytes, message: bytes) -> bool:
    """§4: the authenticator signs its own 37 bytes and the hash of what the browser says it was asked for."""
    if len(signature) < 101:
        return False
    authenticator, numbers, client = signature[:37], signature[37:101], signature[101:]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(message).digest())[:43]
    start = b'{"type":"webauthn.get","challenge":"' + challenge + b'","origin":"'
    if not client.startswith(start) or authenticator[:32] != hashlib.sha256(site).digest():
        return False
    origin, quote, rest = client[len(start) :].partition(b'"')
    found = re.fullmatch(rb"(https|http)://([a-z0-9.-]+)(:[0-9]{1,5})?", origin)
    if not quote or found is None or rest[:1] not in (b",", b"}") or rest.startswith(b',"crossOrigin":true'):
        return False
    host = found[2]
    if (host != site and not host.endswith(b"." + site)) or (found[1] == b"http" and host != b"localhost"):
        return False
    flags = authenticator[32]
    if not flags & 1 or not flags & 4 or flags & 64 or flags & 128:  # present, verified, and nothing appended
        return False
    r, s = int.from_bytes(numbers[:32], "big"), int.from_bytes(numbers[32:], "big")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        der = encode_dss_signature(r, s)
        key.verify(der, authenticator + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def signature_holds(key: bytes | tuple[bytes, bytes], signature: bytes, message: bytes) -> bool:
    if isinstance(key, tuple):
        return passkey_holds(*key, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# The charter


@dataclass(frozen=True)
class Charter:
    """What the law needs of the agreement."""

    phases: list[dict[str, Json]]
    parts: int  # gates in an epoch
    ceiling: dict[str, Json]
    evidence: list[str]
    signatories: dict[str, bytes | tuple[bytes, bytes]]
    seals: bool  # checkpoints lie encrypted between gates

    @property
    def gates(self) -> int:
        return int(sum(phase["epochs"] for phase in self.phases)) * self.parts

    def tenth(self, gate: int) -> tuple[dict[str, Json], int, int]:
        """Phase, epoch and tenth (both from 1) that follow `gate`; after the last gate, those that led to it."""
        left = min(gate, self.gates - 1)
        for phase in self.phases:
            length = phase["epochs"] * self.parts
            if left < length:
                return phase, left // self.parts + 1, left % self.parts + 1
            left -= length
        raise AssertionError("unreachable: gate lies within the phases")


def names_of(table: list[Json], label: str) -> list[str]:
    names = [row["name"] for row in table]
    if len(set(names)) != len(names) or not all(isinstance(n, str) and n and "/" not in n for n in names):
        raise ValueError(f"{label} names must be distinct and plain: {names}")
    return names


def parse_charter(data: bytes) -> Charter:
    """Raise ValueError, KeyError or TypeError where the charter is not one; an unknown key is an error, because nobody
    can vouch for a rule that is not understood."""
    toml = tomllib.loads(data.decode("utf-8"))
    for table, value in toml.items():
        for row in value if isinstance(value, list) else [value]:
            if odd := set(row) - set(CHARTER_KEYS[table].split()):
                raise ValueError(f"unknown keys in {table}: {sorted(odd)}")
    gates = toml.get("gates", {})
    every = re.fullmatch(r"1/([1-9]\d{1,3}) epoch", gates.get("every", "1/10 epoch"), re.ASCII)  # ten gates or more
    if gates.get("consent", "unanimous") != "unanimous" or not every:
        raise ValueError(f"gates: {gates}")
    phases = [{"epochs": 1, "recipe": "recipe.toml", **phase} for phase in toml["phase"]]
    names_of(phases, "phase")
    if not all(type(phase["epochs"]) is int and phase["epochs"] > 0 for phase in phases):
        raise ValueError("epochs must be whole and positive")
    check_compute(toml["ceiling"], "ceiling")
    people = [row for table in ("signatory", "watcher", "witness") for row in toml.get(table, [])]
    for table in ("signatory", "watcher", "witness"):
        names_of(toml.get(table, []), table)
    pairs = {(person["name"], parse_key(person["key"])) for person in people if person not in toml["signatory"]}
    for person in toml["signatory"]:
        key = parse_persons_key(person["key"])
        pairs.add((person["name"], key if isinstance(key, bytes) else key[0]))
    if not len({name for name, _ in pairs}) == len({key for _, key in pairs}) == len(pairs) > 0:
        raise ValueError("one key under two names, or two keys under one")
    signatories = {person["name"]: parse_persons_key(person["key"]) for person in toml["signatory"]}
    evidence = names_of(toml.get("evidence", []), "evidence")
    seal = toml.get("seal", {})
    if type(seal.get("checkpoints", False)) is not bool:
        raise ValueError(f"seal: {seal}")
    if seal.get("checkpoints", False) and any(isinstance(key, tuple) for key in signatories.values()):
        raise ValueError("a passkey opens no share")
    if "escrow" in seal and parse_key(seal["escrow"]) in {key for _, key in pairs}:
        raise ValueError("the escrow key is somebody's own")
    return Charter(phases, int(every[1]), toml["ceiling"], evidence, signatories, seal.get("checkpoints", False))


# Files


class Disk:
    """The run directory: every file is read once, and nothing is read through a link."""

    def __init__(self, root: Path) -> None:
        self.root, self.digests = root, dict[str, str]()

    def path(self, name: str, promise: int) -> Path:
        where = self.root
        for part in name.split("/"):
            where = where / part
            if part in ("", ".", "..") or where.is_symlink():
                raise Broken(promise, f"{name}: expected a path inside the run, without links")
        return where

    def read(self, name: str, promise: int) -> bytes:
        try:
            path = self.path(name, promise)
            if not path.is_file():  # a FIFO would keep us waiting
                raise FileNotFoundError(name)
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise Broken(promise, f"{name}: expected a file, found none") from None

    def digest(self, name: str, promise: int) -> str:
        if name not in self.digests:
            path = self.path(name, promise)
            if not path.is_file():
                raise Broken(promise, f"{name}: expected a file, found none")
            with path.open("rb") as file:
                self.digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.digests[name]

    def folder_digest(self, name: str) -> str:
        """Digest of the sorted listing of a folder's files (§2); links, pipes and devices have none."""
        folder, rows = self.path(name, 9), []
        if not folder.is_dir():
            raise Broken(9, f"{name}: expected a folder, found none")
        for where, folders, files in os.walk(folder):
            for file in files + [each for each in folders if (Path(where) / each).is_symlink()]:
                path = Path(where) / file
                relative = path.relative_to(folder).as_posix()
                info = path.lstat()
                if not stat.S_ISREG(info.st_mode):
                    raise Broken(9, f"{name}/{relative}: expected a plain file, found something else")
                rows.append({"path": relative, "sha256": self.digest(f"{name}/{relative}", 9), "size": info.st_size})
        rows.sort(key=lambda row: str(row["path"]).encode())
        return hashlib.sha256(canonical_text(rows).encode()).hexdigest()

    def names(self, folder: str) -> list[str]:
        where = self.root / folder
        return sorted(path.name for path in where.iterdir()) if where.is_dir() else []


def parse_listing(data: bytes, name: str) -> list[bytes]:
    """The lines of a data listing, checked: canonical, sorted by the UTF-8 bytes of `path`, each path once."""
    lines, last = data.splitlines(keepends=True), b""
    for number, line in enumerate(lines, 1):
        row = read_json(line.removesuffix(b"\n"), f"{name} line {number}", 9)
        fields(row, "path sha256 size", f"{name} line {number}", 9)
        path = row["path"].encode()
        if not (line.endswith(b"\n") and path > last and HEX64.fullmatch(row["sha256"]) and type(row["size"]) is int):
            raise Broken(9, f"{name} line {number}: expected a sorted listing, found {brief(row)}")
        last = path
    return lines


def versioned(name: str, version: int) -> str:
    """recipe.toml, recipe.2.toml, ... (§2)"""
    stem, dot, suffix = name.rpartition(".")
    return name if version == 1 else f"{stem}{dot}{version}.{suffix}" if dot else f"{name}.{version}"


def set_dotted(recipe: dict[str, Json], key: str, value: Json) -> None:
    *tables, last = key.split(".")
    for table in tables:
        recipe = recipe.setdefault(table, {})
        if not isinstance(recipe, dict):
            raise Broken(9, f"adjusted recipe key {key}: expected a table at {table}, found {brief(recipe)}")
    recipe[last] = value


# The replay


@dataclass
class Recipe:
    """A recipe and what adjustments should have made of it."""

    expected: dict[str, Json]
    version: int = 1


@dataclass
class Audit:
    """Replays entries in order; the attributes are the state of the law (§6) and what the dossiers must repeat."""

    disk: Disk
    notes: list[str] = field(default_factory=list)
    stance: str = "nothing"
    gate: int = 0
    entered: str = ""  # leaf digest of the entry that led into this stance
    spent: dict[str, Json] = field(default_factory=lambda: {"device_seconds": 0, "flop": 0})
    reserved: float = 0
    lease: dict[str, Json] = field(default_factory=dict)
    words: dict[str, bool] = field(default_factory=dict)  # signatory -> consents (true) or objects
    dossier: dict[str, Json] = field(default_factory=dict)
    dossier_digest: str = ""
    surprised: bool = False  # the dossier on the table holds what nobody foresaw
    checkpoint: Json = None
    position: Json = None
    kept: bool = False  # a stopped trainer can be thawed
    claims: Json = None
    seals: list[int] = field(default_factory=list)  # the gate of each
    adjustments: list[str] = field(default_factory=list)
    exclusions: int = 0
    halts: tuple[list[Json], list[Json]] = field(
        default_factory=lambda: ([], [])
    )  # before and since the last `reached`
    samples: tuple[list[Json], list[Json]] = field(default_factory=lambda: ([], []))
    recipes: dict[str, Recipe] = field(default_factory=dict)
    listings: dict[str, list[bytes]] = field(default_factory=dict)
    envelopes: dict[str, list[Json]] = field(default_factory=dict)  # seal path/name -> words said there
    seal_path: str = ""
    missing: str = ""  # a checkpoint that does not lie open
    encrypted: Json = None  # path and digest of its encrypted form

    def apply(self, entry: Json, leaf: str, root_before: bytes) -> None:
        """One step of the law. An unknown event, a wrong state, a broken guard: each is refused."""
        self.index, self.leaf, self.root_before = entry["index"], leaf, root_before
        event, before = entry["event"], self.stance
        if event not in LAW:
            raise Broken(7, f"event: expected one of {sorted(LAW)}, found {brief(event)}")
        if before not in LAW[event]:
            promise = 7 if before in ("CLOSED", "nothing") or event in ("opened", "tripped") else 1
            raise Broken(promise, f"{event}: expected in {' or '.join(LAW[event])}, found in {before}")
        getattr(self, "on_" + event)(entry["body"])
        if before == "GATE" != self.stance:
            self.words = {}
        if before == "RUNNING" != self.stance:
            self.lease = {}
        if before != self.stance:
            self.entered = leaf

    # state

    def on_opened(self, body: Json) -> None:
        fields(body, "charter data log_key manifest nonce recipes run version", "opened")
        same(7, "version", 1, body["version"])
        if not re.fullmatch(r"[0-9a-f]{32}", body["nonce"]):
            raise Broken(7, f"nonce: expected 32 hex digits, found {brief(body['nonce'])}")
        self.opened, self.run = body, body["run"]
        same(13, "digest of charter.toml", body["charter"], self.disk.digest("charter.toml", 13))
        try:
            self.charter = parse_charter(self.disk.read("charter.toml", 13))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise Broken(1, f"charter.toml: expected a valid charter, found {brief(repr(error))}") from None
        same(9, "recipes", sorted({phase["recipe"] for phase in self.charter.phases}), sorted(body["recipes"]))
        for name, digest in body["recipes"].items():
            same(9, f"digest of {name}", digest, self.disk.digest(name, 9))
            self.recipes[name] = Recipe(tomllib.loads(self.disk.read(name, 9).decode()))
        same(9, "phases of data", sorted(phase["name"] for phase in self.charter.phases), sorted(body["data"]))
        for phase, digest in body["data"].items():
            same(9, f"digest of data.{phase}.jsonl", digest, self.disk.digest(f"data.{phase}.jsonl", 9))
            self.listings[phase] = parse_listing(self.disk.read(f"data.{phase}.jsonl", 9), f"data.{phase}.jsonl")
        self.check_manifest()
        self.stance = "GATHERING"

    def on_sealed(self, body: Json) -> None:
        fields(body, "dossier gate path spent", "sealed")
        same(1, "gate", self.gate, body["gate"])
        self.spend(body["spent"], "sealed")
        count = self.seals.count(self.gate) + 1
        same(9, "path", f"gates/{self.gate:02d}" + (f".{count}" if count > 1 else ""), body["path"])
        name = body["path"] + "/dossier.json"
        same(9, f"digest of {name}", body["dossier"], self.disk.digest(name, 9))
        self.dossier = read_json(self.disk.read(name, 9), name, 9)
        self.check_dossier(self.dossier, body)
        self.dossier_digest, self.seal_path, self.words = body["dossier"], body["path"], {}
        self.seals.append(self.gate)
        self.stance = "GATE"

    def on_consented(self, body: Json) -> None:
        said = self.statement(body, "consented")
        name = said["signatory"]
        if self.surprised and not said["note"].strip():
            raise Broken(1, f"consent of {brief(name)}: expected a note, since this gate is surprised, found none")
        self.words[name] = True
        self.envelopes.setdefault(f"{self.seal_path}/{name}", []).append(body["envelope"])

    def on_objected(self, body: Json) -> None:
        name = self.statement(body, "objected")["signatory"]
        self.words[name] = False
        self.envelopes.setdefault(f"{self.seal_path}/{name}", []).append(body["envelope"])

    def on_noted(self, body: Json) -> None:
        self.statement(body, "noted")

    def on_adjusted(self, body: Json) -> None:
        patch = self.statement(body, "adjusted")["patch"]
        if not isinstance(patch, dict) or not patch or set(patch) - {"recipe", "exclude", "evidence"}:
            raise Broken(9, f"patch: expected recipe, exclude or evidence, found {brief(patch)}")
        phase, _, _ = self.charter.tenth(self.gate)
        if "recipe" in patch:
            recipe = self.recipes[phase["recipe"]]
            recipe.version += 1
            for key, value in patch["recipe"].items():
                set_dotted(recipe.expected, key, value)
        if "exclude" in patch:
            self.exclusions += 1
            self.listings = {name: exclude(lines, patch["exclude"]) for name, lines in self.listings.items()}
        if "evidence" in patch:
            self.adjust_evidence(patch["evidence"])
        if set(patch) & {"recipe", "exclude"}:
            self.kept = False  # a thawed trainer would go on with what it read before: promise 9
        self.adjustments.append(self.leaf)
        self.stance = "GATHERING"

    def adjust_evidence(self, change: Json) -> None:
        if not isinstance(change, dict) or set(change) - {"drop", "add"}:
            raise Broken(9, f"patch.evidence: expected drop or add, found {brief(change)}")
        left = [name for name in self.charter.evidence if name not in change.get("drop", [])]
        for row in change.get("add", []):
            fields(row, "command name", "patch.evidence.add", 9)
            left.append(row["name"])
        self.charter.evidence[:] = names_of([{"name": name} for name in left], "evidence")

    def need_everyone(self, event: str, body: Json) -> None:
        """Promise 1: a consent from every signatory, no objection, and to this dossier."""
        same(9, f"dossier of {event}", self.dossier_digest, body["dossier"])
        same(1, f"consents before {event}", dict.fromkeys(self.charter.signatories, True), self.words)

    def on_leased(self, body: Json) -> None:
        fields(body, "dossier lease", "leased")
        self.need_everyone("leased", body)
        same(1, "last gate reached", False, self.gate >= self.charter.gates)
        same(9, "lease", self.dossier["proposal"].get("lease"), body["lease"])
        self.lease = body["lease"]
        for name in ("device_seconds", "flop"):
            if not self.spent[name] < self.lease[name] <= self.charter.ceiling[name]:
                limits = f"above {self.spent[name]} and at most {self.charter.ceiling[name]}"
                raise Broken(4, f"lease.{name}: expected {limits}, found {self.lease[name]}")
        self.kept, self.reserved, self.stance = False, self.spent["device_seconds"], "RUNNING"

    def on_metered(self, body: Json) -> None:
        if type(body) is not dict or body.keys() != {"claims", "reserved_device_seconds", "spent"}:
            fields(body, "claims reserved_device_seconds spent", "metered")
        reserved = body["reserved_device_seconds"]
        self.spend(body["spent"], "metered")
        self.within_lease("metered")
        if self.spent["device_seconds"] > self.reserved:
            raise Broken(4, f"metered: expected at most {self.reserved} reserved, found {self.spent}")
        if not is_number(reserved) or not self.spent["device_seconds"] <= reserved <= self.lease["device_seconds"]:
            limits = f"{self.spent['device_seconds']} to {self.lease['device_seconds']}"
            raise Broken(4, f"reserved_device_seconds: expected {limits}, found {brief(reserved)}")
        self.reserved, self.claims = reserved, body["claims"]

    def on_sampled(self, body: Json) -> None:
        fields(body, "count path sha256", "sampled")
        if not re.fullmatch(r"samples/\d{6,}\.jsonl", body["path"], re.ASCII):
            raise Broken(7, f"path: expected samples/NNNNNN.jsonl, found {brief(body['path'])}")
        if body["path"] in self.disk.digests:
            raise Broken(7, f"{body['path']}: expected once, found again")
        same(7, f"digest of {body['path']}", body["sha256"], self.disk.digest(body["path"], 7))
        same(7, f"lines of {body['path']}", body["count"], len(self.disk.read(body["path"], 7).split(b"\n")) - 1)
        self.samples[1].append(body)

    def on_reached(self, body: Json) -> None:
        fields(body, "checkpoint claims gate position spent", "reached")
        same(1, "gate", self.gate + 1, body["gate"])
        self.spend(body["spent"], "reached")
        self.within_lease("reached")
        fields(body["checkpoint"], "digest path", "checkpoint")
        path = f"checkpoints/{body['gate']:02d}"
        same(9, "path of the checkpoint", path, body["checkpoint"]["path"])
        if self.charter.seals and not self.disk.path(path, 9).exists():
            self.missing = path  # until its encrypted form is seen
        else:
            same(9, f"digest of {path}", body["checkpoint"]["digest"], self.disk.folder_digest(path))
        self.encrypted = None
        self.gate, self.checkpoint, self.position = body["gate"], body["checkpoint"], body["position"]
        self.claims, self.stance = body["claims"], "GATHERING"
        self.halts, self.samples = (self.halts[1], []), (self.samples[1], [])

    def on_pulled(self, body: Json) -> None:
        fields(body, "by frozen spent stopped_ms", "pulled")
        fields(body["by"], "name uid", "by")
        same(7, "frozen is true or false", True, isinstance(body["frozen"], bool))
        self.kept = body["frozen"] and (self.stance == "RUNNING" or self.kept)
        self.halt("pulled", None, body["spent"])

    def on_tripped(self, body: Json) -> None:
        fields(body, "detail reason spent", "tripped")
        if body["reason"] not in REASONS:
            raise Broken(7, f"reason: expected one of {REASONS}, found {brief(body['reason'])}")
        lost, running = body["reason"] == "lost_supervisor", self.stance == "RUNNING"
        self.kept = self.kept and not lost and not running
        self.halt("tripped", body["reason"], body["spent"])
        if lost and running:
            self.spent["device_seconds"] = max(self.spent["device_seconds"], self.reserved)

    def halt(self, event: str, reason: str | None, spent: Json) -> None:
        check_compute(spent, "spent")
        self.spent = {name: max(self.spent[name], spent[name]) for name in spent}
        self.halts[1].append({"index": self.index, "event": event, "reason": reason})
        self.stance = "HALTED"

    def on_reopened(self, body: Json) -> None:
        self.statement(body, "reopened")
        self.stance = "GATHERING"

    def on_closed(self, body: Json) -> None:
        if isinstance(body, dict) and body.get("outcome") == "released":
            fields(body, "dossier outcome", "closed")
            same(1, "state of a release", "GATE", self.stance)
            same(1, "gate of a release", self.charter.gates, self.gate)
            self.need_everyone("closed", body)
        else:
            fields(body, "envelope outcome", "closed")
            same(7, "outcome", "abandoned", body["outcome"])
            self.statement({"envelope": body["envelope"]}, "closed")
        self.stance = "CLOSED"

    # guards

    def spend(self, spent: Json, event: str) -> None:
        check_compute(spent, "spent")
        old = self.spent
        if spent["device_seconds"] < old["device_seconds"] or spent["flop"] < old["flop"]:
            raise Broken(4, f"{event}: expected spent not to fall below {old}, found {spent}")
        self.spent = spent

    def within_lease(self, event: str) -> None:
        for name in ("device_seconds", "flop"):
            if self.spent[name] > self.lease[name]:
                raise Broken(
                    4, f"{event}: expected {name} within the lease {self.lease[name]}, found {self.spent[name]}"
                )

    # statements (§4)

    def anchor(self) -> str:
        return self.dossier_digest if self.stance == "GATE" else self.entered

    def statement(self, body: Json, event: str) -> Json:
        """The predicate of a statement by a signatory of the charter, about exactly this moment."""
        fields(body, "envelope", event)
        envelope = body["envelope"]
        fields(envelope, "payload payloadType signatures", "envelope")
        kind = "application/vnd.in-toto+json"
        same(7, "payloadType", kind, envelope["payloadType"])
        same(1, "number of signatures", 1, len(envelope["signatures"]))
        fields(envelope["signatures"][0], "keyid sig", "signature")
        if not isinstance(envelope["signatures"][0]["keyid"], str):
            raise Broken(7, "keyid: expected a text, found something else")
        payload = unbase64(envelope["payload"], "payload")
        said = read_json(payload, "statement")
        fields(said, "_type predicate predicateType subject", "statement")
        predicate = said["predicate"]
        fields(predicate, "anchor note run signatory time" + " patch" * (event == "adjusted"), "predicate")
        name = predicate["signatory"]
        if name not in self.charter.signatories:
            raise Broken(1, f"{event} by: expected one of {sorted(self.charter.signatories)}, found {brief(name)}")
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = unbase64(envelope["signatures"][0]["sig"], "signature")
        if not signature_holds(self.charter.signatories[name], signature, signed):
            raise Broken(1, f"{event}: expected {brief(name)}'s signature, found one that does not verify")
        same(7, "_type", "https://in-toto.io/Statement/v1", said["_type"])
        same(1, "predicateType", f"urn:tenth:{PREDICATES.get(event, 'closing')}:v1", said["predicateType"])
        same(1, "run of the statement", self.run, predicate["run"])
        same(9, f"anchor of {event}", self.anchor(), predicate["anchor"])
        subjects = [{"name": key, "digest": {"sha256": value}} for key, value in self.subjects(event)]
        same(9, f"subjects of {event}", subjects, said["subject"])
        if not isinstance(predicate["note"], str) or len(predicate["note"]) > 2000:
            raise Broken(7, f"note: expected at most 2000 characters, found {brief(predicate['note'])}")
        check_time(predicate["time"])
        return predicate

    def subjects(self, event: str) -> Iterable[tuple[str, str]]:
        if event not in ("consented", "objected"):
            return [("anchor", self.anchor())]
        named = [(name, self.dossier[name]) for name in ("charter", "recipe", "data", "manifest")]
        checkpoint = self.dossier["checkpoint"]
        return [
            ("dossier", self.dossier_digest),
            *named,
            *([("checkpoint", checkpoint["digest"])] if checkpoint else []),
        ]

    # digests on disk (§2, §7)

    def check_manifest(self) -> None:
        same(9, "digest of manifest.json", self.opened["manifest"], self.disk.digest("manifest.json", 9))
        manifest = read_json(self.disk.read("manifest.json", 9), "manifest.json", 9)
        fields(manifest, "code data machine packages probes protections version", "manifest.json", 9)
        same(9, "version of manifest.json", 1, manifest["version"])
        expected = []
        for phase in self.charter.phases:
            name, lines = phase["name"], self.listings[phase["name"]]
            row = {"phase": name, "path": f"data.{name}.jsonl", "digest": self.opened["data"][name]}
            expected.append({**row, "files": len(lines), "bytes": sum(json.loads(line)["size"] for line in lines)})
        same(9, "data of manifest.json", expected, manifest["data"])
        check_protections(manifest["protections"])
        for row in manifest["probes"]:
            fields(row, "about contained name what", "probe", 9)

    def recipe_in_force(self, name: str) -> str:
        recipe = self.recipes[name]
        file = versioned(name, recipe.version)
        found = tomllib.loads(self.disk.read(file, 9).decode())
        same(9, f"{file} after adjustments", recipe.expected, found)
        return self.disk.digest(file, 9)

    def listing_in_force(self, phase: str) -> str:
        file = versioned(f"data.{phase}.jsonl", self.exclusions + 1)
        expected = hashlib.sha256(b"".join(self.listings[phase])).hexdigest()
        same(9, f"digest of {file} after exclusions", expected, self.disk.digest(file, 9))
        return expected

    def check_dossier(self, dossier: Json, sealed: Json) -> None:
        """Every field that the log or the disk determines must be what they determine (§7)."""
        fields(dossier, DOSSIER_KEYS + (" sealed" if self.charter.seals else ""), "dossier", 9)
        if self.charter.seals:
            self.check_encrypted(dossier["sealed"])
        phase, epoch, tenth = self.charter.tenth(self.gate)
        expected = {
            "version": 1, "run": self.run, "gate": self.gate, "seal": len(self.seals),
            "log": {"size": self.index, "root": self.root_before.hex()},
            "charter": self.opened["charter"], "manifest": self.opened["manifest"],
            "recipe": self.recipe_in_force(phase["recipe"]), "data": self.listing_in_force(phase["name"]),
            "checkpoint": self.checkpoint, "position": self.position,
            "spent": sealed["spent"], "ceiling": self.charter.ceiling,
            "samples": self.samples[0] + self.samples[1], "halts": self.halts[0] + self.halts[1],
            "adjustments": self.adjustments,
        }  # fmt: skip
        if self.claims is not None or dossier["claims"] != {}:
            expected["claims"] = self.claims
        for name, value in expected.items():
            same(DOSSIER_PROMISE.get(name, 9), f"dossier.{name}", value, dossier[name])
        if not isinstance(dossier["frozen"], bool) or (dossier["frozen"] and not self.kept):
            raise Broken(3, f"dossier.frozen: expected no kept trainer to thaw, found {brief(dossier['frozen'])}")
        self.kept = dossier["frozen"]
        check_protections(dossier["protections"])
        self.check_evidence(dossier["evidence"], sealed["path"])
        if self.gate == self.charter.gates:
            return same(1, "proposal at the last gate", {"release": True}, dossier["proposal"])
        fields(dossier["proposal"], "lease", "proposal", 9)
        lease = dossier["proposal"]["lease"]
        resume = "thaw" if dossier["frozen"] else "checkpoint" if self.checkpoint else "fresh"
        place = {"gate": self.gate + 1, "phase": phase["name"], "epoch": epoch, "tenth": tenth}
        place |= {"of": self.charter.parts, "resume": resume}
        fields(lease, " ".join([*place, "device_seconds", "flop"]), "proposed lease", 9)
        same(1, "proposed lease", place, {name: lease[name] for name in place})
        for name in ("device_seconds", "flop"):
            if not is_number(lease[name]) or lease[name] > self.charter.ceiling[name]:
                raise Broken(4, f"proposed {name}: expected up to {self.charter.ceiling[name]}, found {lease[name]}")

    def check_encrypted(self, sealed: Json) -> None:
        """Promise 14: what lies on the table is encrypted, once, and stays what it is."""
        if (sealed is None) is not (self.checkpoint is None):
            raise Broken(14, f"sealed: expected just when there is a checkpoint, found {brief(sealed)}")
        if sealed is not None:
            fields(sealed, "digest path", "sealed", 14)
            same(14, "path of the sealed checkpoint", self.checkpoint["path"] + ".sealed", sealed["path"])
            if self.encrypted is not None:
                same(14, "the sealed checkpoint", self.encrypted, sealed)
            same(9, f"digest of {sealed['path']}", sealed["digest"], self.disk.folder_digest(sealed["path"]))
            self.encrypted, self.missing = sealed, ""

    def check_evidence(self, evidence: Json, seal_path: str) -> None:
        """All that was asked for is there, unchanged; before the first checkpoint there is nothing to measure."""
        names = [row["name"] for row in evidence]
        same(9, "evidence in the dossier", sorted(self.charter.evidence) if self.checkpoint else [], sorted(names))
        for row in evidence:
            fields(row, "device_seconds digest name path surprised", "evidence", 9)
            same(9, "path of evidence", f"{seal_path}/evidence/{row['name']}", row["path"])
            same(9, f"digest of {row['path']}", row["digest"], self.disk.folder_digest(row["path"]))
            check_compute({"device_seconds": row["device_seconds"], "flop": 0}, row["path"])
            self.check_surprise(row)
        self.surprised = any(row["surprised"] for row in evidence)
        for name in sorted(set(self.disk.names(f"{seal_path}/evidence")) - set(names)):
            self.notes.append(f"{seal_path}/evidence/{name} is in no dossier")

    def check_surprise(self, row: Json) -> None:
        """What the panel says of itself; its summary is JSON, canonical or not, without NaN."""
        name = row["path"] + "/summary.json"
        try:
            summary = json.loads(self.disk.read(name, 9), parse_constant=no_constant)
        except (ValueError, RecursionError) as error:
            raise Broken(9, f"{name}: expected JSON, found {brief(str(error))}") from None
        if not isinstance(summary, dict):
            raise Broken(9, f"{name}: expected an object, found {brief(summary)}")
        same(9, f"surprised of {name}", summary.get("surprised", False), row["surprised"])
        if not isinstance(row["surprised"], bool):
            raise Broken(9, f"surprised of {name}: expected true or false, found {brief(row['surprised'])}")

    def check_leftovers(self) -> None:
        """After the last entry: copies of consents must be what was said; other unknown files are noted."""
        gates = {(f"{gate:02d}" + (f".{n}" if n > 1 else "")) for gate, n in self.seal_numbers()}
        for seal in sorted(gates):
            for name in (one for one in self.disk.names(f"gates/{seal}/consents") if not one.startswith(".")):
                file, key = f"gates/{seal}/consents/{name}", f"gates/{seal}/{name.removesuffix('.json')}"
                envelope = read_json(self.disk.read(file, 9).removesuffix(b"\n"), file, 9)
                if envelope not in self.envelopes.get(key, []):
                    raise Broken(9, f"{file}: expected what the log holds, found another envelope")
        named = {"gates": gates, "checkpoints": {f"{gate:02d}" for gate in range(1, self.gate + 1)}}
        if self.missing:
            raise Broken(9, f"{self.missing}: expected a folder, found none")
        if self.charter.seals:
            suffixes = ("", ".sealed", ".shares.json")
            named["checkpoints"] = {one + suffix for one in named["checkpoints"] for suffix in suffixes}
        named["samples"] = {Path(name).name for name in self.disk.digests if name.startswith("samples/")}
        for folder, names in named.items():
            for name in sorted(set(self.disk.names(folder)) - names):
                self.notes.append(f"{folder}/{name} is not in the log")

    def seal_numbers(self) -> Iterable[tuple[int, int]]:
        return ((gate, self.seals[: i + 1].count(gate)) for i, gate in enumerate(self.seals))


def exclude(lines: list[bytes], globs: Json) -> list[bytes]:
    def excluded(path: str) -> bool:
        return any(path == glob or fnmatch.fnmatchcase(path, glob) for glob in globs)

    return [line for line in lines if not excluded(json.loads(line)["path"])]


def check_time(time: Json) -> None:
    if not isinstance(time, str) or not TIME.fullmatch(time):
        raise Broken(7, f"time: expected UTC with milliseconds, found {brief(time)}")


def check_protections(rows: Json) -> None:
    for row in rows:
        fields(row, "holds how name", "protection", 9)
        same(9, f"holds of {brief(row['name'])} is true or false", True, isinstance(row["holds"], bool))


# The whole run


def parse_entry(line: bytes, index: int) -> dict[str, Json]:
    entry = read_json(line, f"entry {index}")
    if type(entry) is not dict or entry.keys() != {"body", "event", "index", "time"}:
        fields(entry, "body event index time", "entry")
    if type(entry["index"]) is not int or entry["index"] != index:
        raise Broken(7, f"index: expected {index}, found {brief(entry['index'])}")
    check_time(entry["time"])
    return entry  # type: ignore[no-any-return]  # a dict, checked above


def is_torn_note(data: bytes, origin: str) -> bool:
    """Could a write of one more head, cut short, have left this? (§3: anything else that does not fit is broken.)"""
    lead = f"\N{EM DASH} {origin} ".encode()
    spelling = (re.escape(origin.encode()), rb"[1-9]\d*", rb"[\w+/]+=*", rb"", re.escape(lead) + rb"[\w+/]+=*")
    *lines, tail = data.split(b"\n")
    last = lead.startswith(tail) or re.fullmatch(spelling[4], tail)
    starts = (origin.encode().startswith(tail), tail.isdigit(), re.fullmatch(spelling[2], tail), False, last)
    whole = len(lines) < 5 and all(re.fullmatch(each, line) for each, line in zip(spelling, lines, strict=False))
    return bool(whole and (not tail or starts[len(lines)]))


class Replay:
    """Walks from head to head: hash what it covers, check the root, then the signature, then the law."""

    def __init__(self, audit: Audit) -> None:
        self.audit, self.tree, self.heads = audit, Tree(), 0
        kept = audit.disk.names("log").count("cosignatures")  # read before the entries, which only become more
        self.cosignatures = audit.disk.read("log/cosignatures", 7) if kept else b""
        *self.lines, self.torn_entry = audit.disk.read("log/entries.jsonl", 7).split(b"\n")
        heads = audit.disk.read("log/heads", 7).split(b"\n")
        whole = (len(heads) - 1) // 5 * 5
        self.notes, self.torn_note = heads[:whole], b"\n".join(heads[whole:])
        self.log_key, self.origin, self.key_id = b"", "", b""

    def run(self) -> None:
        if not self.notes:
            raise Broken(7, "log/heads: expected a signed head, found none", 0)
        for start in range(0, len(self.notes), 5):
            try:
                block = [line.decode() for line in self.notes[start : start + 5]]
                self.step(parse_head(block, self.heads), start + 5 == len(self.notes))
            except Broken as broken:
                broken.entry = self.tree.size if broken.entry is None else broken.entry
                raise
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
                index = getattr(self.audit, "index", self.tree.size)
                raise Broken(7, f"expected what docs/formats.md says, found {brief(repr(error))}", index) from None
            self.heads += 1
        self.note_what_a_crash_left()
        self.audit.check_leftovers()

    def note_what_a_crash_left(self) -> None:
        """What no head covers was never acknowledged (§3)."""
        if self.torn_note and not is_torn_note(self.torn_note, self.origin):
            raise Broken(7, f"log/heads: expected a head or a torn one, found {self.torn_note!r}", self.tree.size)
        if self.torn_note:
            self.audit.notes.append("log/heads ends in a torn head")
        if self.torn_entry:
            self.audit.notes.append("log/entries.jsonl ends in a torn line")
        if beyond := len(self.lines) - self.tree.size:
            self.audit.notes.append(f"{beyond} entries beyond the last head were never acknowledged")

    def step(self, head: Head, last: bool) -> None:
        first = self.tree.size
        if head.size <= first:
            raise Broken(7, f"size of head {self.heads}: expected above {first}, found {head.size}", first)
        if head.size > len(self.lines):
            raise Broken(7, f"entries: expected {head.size} under a head, found {len(self.lines)}", len(self.lines))
        batch = []
        for index in range(first, head.size):
            entry = parse_entry(self.lines[index], index)
            before = self.tree.root() if entry["event"] == "sealed" else b""
            leaf = hashlib.sha256(b"\x00" + self.lines[index])
            self.tree.push(leaf.digest())
            batch.append((entry, leaf, before))
        if self.tree.root() != head.root:
            what = f"expected {head.root.hex()}, found {self.tree.root().hex()}"
            raise Broken(7, f"root at size {head.size}: {what}", head.size - 1)
        self.check_note(head, batch[0][0], last or any(entry["event"] not in QUIET for entry, _, _ in batch))
        for entry, leaf, before in batch:
            try:
                self.audit.apply(entry, leaf.hexdigest(), before)
            except Broken as broken:
                broken.entry = entry["index"]
                raise

    def check_note(self, head: Head, first: dict[str, Json], decisive: bool) -> None:
        """The note is by the log key that entry 0 names; only decisive heads cost a signature check."""
        if not self.origin:
            same(7, "first entry", "opened", first["event"])
            opened = first["body"]
            self.log_key, self.origin = parse_key(opened["log_key"]), f"tenth/{opened['run']}"
            self.key_id = hashlib.sha256(self.origin.encode() + b"\n\x01" + self.log_key).digest()[:4]
        if head.origin != self.origin or head.key_id != self.key_id:
            expected, found = f"{self.origin} {self.key_id.hex()}", f"{head.origin} {head.key_id.hex()}"
            raise Broken(7, f"signer of head {self.heads}: expected {expected}, found {found}", head.size - 1)
        if decisive and not signature_holds(self.log_key, head.signature, head.text):
            raise Broken(7, f"head {self.heads}: expected the log key's signature, found another", head.size - 1)


# Witnesses (§10)


class NoEvidence(Exception):
    """A file that nobody signed who could know this log."""


@dataclass(frozen=True, slots=True)
class Note:
    """A head with any number of signatures: (name, key id, what it signed with)."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: list[tuple[str, bytes, bytes]]


def parse_note(data: bytes, label: str) -> Note:
    text, _, signed = data.rpartition(b"\n\n")
    if not signed.endswith(b"\n") or len(data) > 16384:
        raise Broken(7, f"{label}: expected a signed head, found {data[:60]!r}")
    lines, rows = text.decode(errors="replace").split("\n"), []
    for line in signed.decode(errors="replace").split("\n")[:-1]:
        row = re.fullmatch(r"\N{EM DASH} ([^\s+]+) (\S+)", line)
        blob = unbase64(row[2], f"signature in {label}") if row else b""
        if not row or len(blob) < 5:
            raise Broken(7, f"{label}: expected a signature, found {brief(line)}")
        rows.append((row[1], blob[:4], blob[4:]))
    if len(lines) < 3 or not all(lines) or not re.fullmatch(r"0|[1-9]\d{0,14}", lines[1], re.ASCII):
        raise Broken(7, f"{label}: expected origin, size and root, found {brief(lines)}")
    root = unbase64(lines[2], f"root of {label}")
    same(7, f"bytes in the root of {label}", 32, len(root))
    return Note(lines[0], int(lines[1]), root, text + b"\n", rows)


class Witnesses:
    """Holds the log against heads that others have kept: a log that goes on from each of them was not cut or split."""

    def __init__(self, audit: Audit, replay: Replay) -> None:
        toml = tomllib.loads(audit.disk.read("charter.toml", 13).decode())
        self.keys = {row["name"]: parse_key(row["key"]) for row in toml.get("witness", [])}
        self.replay, self.seen = replay, list[dict[str, Json]]()

    def signed_by_log(self, note: Note) -> bool:
        log = self.replay
        found = [sig for name, key_id, sig in note.signatures if (name, key_id) == (log.origin, log.key_id)]
        return bool(found) and all(signature_holds(log.log_key, sig, note.text) for sig in found)

    def times(self, note: Note, name: str, label: str) -> list[int]:
        """When this witness cosigned, by its clock; a cosignature that is forged is worse than none."""
        key_id, found = hashlib.sha256(name.encode() + b"\n\x04" + self.keys[name]).digest()[:4], []
        for who, which, signed in note.signatures:
            if (who, which) == (name, key_id):
                time = int.from_bytes(signed[:8], "big")
                message = b"cosignature/v1\ntime %d\n" % time + note.text
                if len(signed) != 72 or time > 253_402_000_000:
                    raise Broken(7, f"{label}: expected 8 bytes of time and 64 of {name}'s signature")
                if not signature_holds(self.keys[name], signed[8:], message):
                    raise Broken(7, f"{label}: expected {name}'s cosignature, found a forged one")
                found.append(time)
        return found

    def hold(self, note: Note, who: str | None, time: int | None, label: str) -> None:
        log, tree = self.replay, Tree()
        by = f"{who} has cosigned" if who else "somebody has kept"
        if note.size > log.tree.size:
            raise Broken(7, f"{label}: {by} {note.size} entries, found {log.tree.size}: the log was cut back")
        for line in log.lines[: note.size]:
            tree.push(hashlib.sha256(b"\x00" + line).digest())
        if tree.root() != note.root:
            what = f"{label}: {by} {note.root.hex()} at {note.size} entries, found {tree.root().hex()}: another log"
            raise Broken(7, what, max(0, note.size - 1))
        self.seen.append({"witness": who, "entries": note.size, "time": time, "source": label})

    def beside_the_log(self) -> None:
        """`log/cosignatures`: six lines for each witness, by name."""
        label, last = "log/cosignatures", ""
        lines = self.replay.cosignatures.split(b"\n")
        if len(lines) % 6 != 1 or lines[-1]:
            raise Broken(7, f"{label}: expected six lines for each witness, found {len(lines) - 1} lines")
        for start in range(0, len(lines) - 1, 6):
            note = parse_note(b"\n".join(lines[start : start + 6]) + b"\n", label)
            name = note.signatures[-1][0]
            if name not in self.keys or name <= last or len(note.signatures) != 2 or note.origin != self.replay.origin:
                raise Broken(7, f"{label}: expected a head that the next witness cosigned, found {brief(name)}'s")
            times = self.times(note, name, label)
            if not times or note.signatures[0][0] != note.origin or not self.signed_by_log(note):
                raise Broken(7, f"{label}: expected the signatures of the log and of {name}")
            self.hold(note, name, times[0], label)
            last = name

    def elsewhere(self, path: Path) -> None:
        """A witness's memory, a cosigned head, or a head copied from `log/heads`."""
        label, data = str(path), path.read_bytes()
        try:
            if data.startswith(b"{"):
                data = str(json.loads(data)["head"]).encode()
            note = parse_note(data, label)
            cosigned = {name: self.times(note, name, label) for name in self.keys}
        except (Broken, ValueError, KeyError) as error:
            raise NoEvidence(f"{label}: {error}") from None
        by = {name: max(times) for name, times in cosigned.items() if times}
        if note.origin != self.replay.origin or not (by or self.signed_by_log(note)):
            raise NoEvidence(f"{label}: expected a head of {self.replay.origin}, signed by it or by a witness")
        for name, time in by.items():
            self.hold(note, name, time, label)
        if not by:
            self.hold(note, None, None, label)


def verify(run_dir: Path, heads: Iterable[Path] = ()) -> dict[str, Json]:
    """The verdict on a run directory, as `--json` prints it. Raises OSError where it cannot be read, NoEvidence where
    one of `heads` (files) says nothing of this log."""
    if not run_dir.is_dir():
        raise NotADirectoryError(f"{run_dir} is not a run directory")
    audit, replay, broken = Audit(Disk(run_dir)), None, None
    seen = list[dict[str, Json]]()
    try:
        replay = Replay(audit)
        replay.run()
        witnesses = Witnesses(audit, replay)
        seen = witnesses.seen
        witnesses.beside_the_log()
        for path in heads:
            witnesses.elsewhere(path)
    except Broken as error:
        broken = {"promise": error.promise, "entry": error.entry or 0, "what": error.what}
    return {
        "ok": broken is None,
        "run": getattr(audit, "run", None),
        "entries": replay.tree.size if replay else 0,
        "heads": replay.heads if replay else 0,
        "stance": audit.stance,
        "gate": audit.gate,
        "broken": broken,
        "witnesses": seen,
        "notes": audit.notes,
    }


def plain(text: str) -> str:
    """Promise 10: nothing from a run directory reaches the terminal but printable characters."""
    return "".join(each if each.isprintable() else "?" for each in text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a run directory, offline.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    what = "a head kept elsewhere: a witness's memory, a cosigned head, or five lines of log/heads"
    parser.add_argument("--witness", type=Path, action="append", default=[], metavar="FILE", help=what)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return 1 if stop.code else 0
    try:
        verdict = verify(options.run_dir, options.witness)
    except (OSError, NoEvidence) as error:
        print(plain(f"cannot read the run: {error}"), file=sys.stderr)
        return 1
    broken = verdict["broken"]
    if options.json:
        print(json.dumps(verdict))
    elif broken:
        print(plain(f"does not verify: entry {broken['entry']}, promise {broken['promise']}: {broken['what']}"))
    else:
        run, entries, heads = verdict["run"], verdict["entries"], verdict["heads"]
        print(
            plain(f"verified: {run}, {entries} entries, {heads} heads, {verdict['stance']} at gate {verdict['gate']}")
        )
        for row in verdict["witnesses"]:
            who = row["witness"] or "a copied head"
            print(plain(f"{who}: {row['entries']} entries, time {row['time']}, {row['source']}"))
        print("".join(plain(f"note: {note}") + "\n" for note in verdict["notes"]), end="")
    return 5 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
