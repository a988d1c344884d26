"""Ask witnesses for their cosignature under a run's newest head, over HTTP or through files; keep what they answer.

What comes back is believed only as far as it is signed. Not part of the supervisor, which never talks to a network.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tenth import charter as charters
from tenth.charter import Charter
from tenth.errors import RunRefused, TenthError, WrongInput
from tenth.keys import PublicKey
from tenth.log import store
from tenth.witness import kept
from tenth.witness.checking import SKEW_SECONDS, Witnessed
from tenth.witness.kept import Cosignature, Parties
from tenth.witness.note import MOST_BYTES, Checkpoint, NamedKey
from tenth.witness.request import write_request
from tenth.witness.serving import PATH

TIMEOUT_SECONDS = 10.0
ATTEMPTS = 3
"""A witness may be asked by somebody else in between."""

Post = Callable[[str, bytes], tuple[int, bytes]]
"""To this address, this body: status and answer."""


@dataclass(frozen=True)
class Newest:
    """The newest head of a run, and what proofs for it are made of."""

    folder: Path
    parties: Parties
    leaves: Sequence[bytes]
    note: bytes
    log: Witnessed

    @classmethod
    def of(cls, run: Path) -> Newest:
        """Raises BrokenPromise(7) where the log does not hold, and RunRefused where there is no witness to ask."""
        charter = charters.parse((run / "charter.toml").read_bytes())
        if not charter.witnesses:
            raise RunRefused("nobody can be asked", "the charter names no witness", "docs/charter.md, [[witness]]")
        log = store.read(run / "log")
        if not log.heads:
            raise RunRefused("nobody can be asked", "the log has no head yet")
        parties = Parties.of(log.entries[0].body["run"], log_key(log, charter), charter)
        lines = [entry.line for entry in log.entries]
        leaves = [entry.leaf for entry in log.entries]
        return cls(run / "log", parties, leaves, log.heads[-1].note, Witnessed(parties, lines))

    @property
    def name(self) -> str:
        """Of the run."""
        return self.parties.log.name.partition("/")[2]

    def request(self, old: int) -> bytes:
        return write_request(self.leaves, self.note, old)

    def last(self, name: str) -> int:
        """How many entries this witness had cosigned when we last heard."""
        known = kept.read(self.folder, self.parties).get(name)
        return known.checkpoint.size if known else 0

    def take(self, note: bytes, now: float, source: str, *, keep: bool = True) -> list[tuple[Cosignature, bool]]:
        """Check a cosigned head and keep it, for each witness that signed; False where a newer one is there.

        Raises WrongInput if no witness of the charter signed it, BrokenPromise(7) if the log does not go on from it.
        """
        head = Checkpoint.parse(note)
        if head.origin != self.parties.log.name:
            raise WrongInput(f"{source} is not kept", f"it is about {head.origin}", "give it to the run it is about")
        named = [(witness, head.cosigned_at(witness)) for witness in self.parties.witnesses.values()]
        found = [self._checked(head, witness, when, now, source) for witness, when in named if when is not None]
        if not found:
            raise WrongInput(f"{source} is not kept", "no witness of the charter has cosigned it")
        return [(one, keep and kept.keep(self.folder, self.parties, one)) for one in found]

    def _checked(self, head: Checkpoint, witness: NamedKey, when: int, now: float, source: str) -> Cosignature:
        self.log.hold(head, witness.name, source)
        if not head.signed_by(self.parties.log):
            raise WrongInput(f"{source} is not kept", "the log did not sign this head")
        if when > now + SKEW_SECONDS:
            found = f"it is dated {when - now:.0f} s ahead of this clock"
            raise WrongInput(f"{source} is not kept", found, "set the clock that is wrong")
        return Cosignature(witness, head, when, kept.only(head, self.parties.log, witness))


def log_key(log: store.Log, charter: Charter) -> PublicKey:
    """The key that entry 0 names, of the run that this charter opened."""
    opened = log.entries[0].body
    if opened.get("charter") != charter.digest:
        raise RunRefused("nobody can be asked", "charter.toml is not the one the log was opened with")
    return PublicKey.parse(opened["log_key"])


def over_http(newest: Newest, witness: NamedKey, url: str, clock: Callable[[], float] = time.time) -> Cosignature:
    """Ask the witness at ``url``, and keep its answer. Raises WrongInput when it refuses or cannot be reached."""
    old, size, began = newest.last(witness.name), len(newest.leaves), clock()
    for _ in range(ATTEMPTS):
        status, answer = post(url, newest.request(old))
        if status == 200:
            note = newest.note + answer
            when = Checkpoint.parse(note).cosigned_at(witness)
            if when is None or abs(when - began) > SKEW_SECONDS:
                found = (
                    "it did not sign" if when is None else f"its cosignature is {abs(when - began):.0f} s off our clock"
                )
                raise WrongInput(f"{witness.name} has not cosigned", found, "is it the witness of the charter?")
            taken = {one.witness.name: one for one, _ in newest.take(note, clock(), url)}
            return taken[witness.name]
        told = _size(answer) if status == 409 else -1
        if told < 0 or told == old or told > size:
            raise _refused(newest, witness, status, answer, told)
        old = told
    raise WrongInput(f"{witness.name} has not cosigned", "it is asked by others at the same time", "ask again")


def _size(answer: bytes) -> int:
    text = answer.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) < 16 else -1


def _refused(newest: Newest, witness: NamedKey, status: int, answer: bytes, told: int) -> WrongInput:
    size, log = len(newest.leaves), newest.parties.log
    found = f"it answers {status}: {answer.decode('utf-8', 'replace').strip()[:200]}"
    do = "ask whoever runs it"
    compare = (
        f"this log was cut back or rewritten, or {witness.name} is mistaken: have its memory sent (tenth witness list)"
    )
    compare += ", then  tenth verify --witness FILE"
    if status == 404:
        do = f"if it does not know this log, have it told once:  tenth witness add '{log.line}'"
    elif status == 409 and told > size:
        found, do = f"it says it has cosigned {told} entries, and there are {size} here", compare
    elif status in (409, 422):
        found, do = f"it has cosigned another history ({found})", compare
    return WrongInput(f"{witness.name} has not cosigned", found, do)


def post(url: str, body: bytes) -> tuple[int, bytes]:
    """To ``add-checkpoint`` below ``url``. Raises WrongInput where nobody answers."""
    try:
        parts = urlsplit(url)
        host, port, secure = parts.hostname or "", parts.port, parts.scheme == "https"
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise WrongInput("this witness cannot be asked", f"{url!r} is no address", "http://HOST:PORT, or https://...")
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    try:
        connection = kind(host, port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", parts.path.rstrip("/") + PATH, body, {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            return answer.status, answer.read(MOST_BYTES)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WrongInput(
            "this witness does not answer", f"{url}: {str(error) or type(error).__name__}", "does it run?"
        ) from None


def by_file(newest: Newest, witness: NamedKey, folder: Path, since: int | None) -> Path:
    """Write a request for a witness without a network path; returns the file."""
    old = newest.last(witness.name) if since is None else since
    if old > len(newest.leaves):
        raise WrongInput("no request was written", f"there are {len(newest.leaves)} entries, not {old}")
    target = folder / f"{newest.name}.{witness.name}.request"
    target.write_bytes(newest.request(old))
    return target


def attempt(what: Callable[[], Cosignature]) -> Cosignature | TenthError:
    """One witness's refusal must not keep the next from being asked."""
    try:
        return what()
    except WrongInput as error:
        return error
