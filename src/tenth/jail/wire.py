"""How a jail is asked: programs go down, and what became of each comes up. Standard library only.

A jail is one or more zygotes (zygote.py), each behind a socket pair of records (SOCK_SEQPACKET), each of them bounded.
Down go two per program: a head that the zygote reads, its number and its limits, and a body of JSON that only the
program's own process reads, once its limits hold. Up comes one: a head of JSON, and the two texts whose lengths it
gives. What comes up is a claim of code that nobody trusts: it is looked at here, outside, and never evaluated.

**Expected outputs never go down.** Whoever asks compares what came up with them; see ``Outcome.answers``.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_HEAD = 256
MAX_BODY = 65_536
"""Of a program with its inputs, bytes of JSON. Two of them always fit into a socket's buffer, so nobody waits for us
while we wait for them."""
MAX_ANSWER = 65_536
MAX_SAID = 4_096
"""What is kept of standard output and standard error, together. A program may print up to MAX_ANSWER before it counts
as a flood."""
AT_ONCE = 2
"""Programs that one zygote has before it: one runs, one waits."""
GRACE_SECONDS, TICK_SECONDS = 30.0, 0.25
"""A zygote that takes so much longer than its program's limit is broken."""
READY = b'{"ready":1}'
"""The first record that comes up: every attack was held, programs may come."""
START_SECONDS = 60.0
GIVEN = "TENTH_JAIL"
"""Where a supervisor says which inherited descriptors are a jail's: their numbers, with commas."""

RETURNED, RAISED, LEFT, TIMEOUT = "returned", "raised", "left", "timeout"
MEMORY, FLOODED, DENIED, CRASHED = "memory", "flooded", "denied", "crashed"
GARBLED, OVERSIZED = "garbled", "oversized"
VERDICTS = {
    RETURNED: "every input has an answer",
    RAISED: "an exception, in the program itself or for an input",
    LEFT: "it ended without an answer: sys.exit, os._exit",
    TIMEOUT: "it used up its processor time, or took too long",
    MEMORY: "it asked for more memory than it may have",
    FLOODED: "it answered or printed more than it may",
    DENIED: "it asked the kernel for something that no program here needs, and was killed",
    CRASHED: "it ended by another signal",
    GARBLED: "what it answered is not an answer",
    OVERSIZED: "it is too long to be sent, and did not run",
}

Json = Any
SIGKILL, SIGXCPU, SIGPROF, SIGSYS = 9, 24, 27, 31


class JailError(Exception):
    """The jail itself does not hold or does not answer: what was refused, what was found, what to do next.

    Never the fault of a program: whatever one does ends in an Outcome.
    """

    def __init__(self, refused: str, found: str, do: str) -> None:
        super().__init__(f"{refused}; {found}; {do}")
        self.refused, self.found, self.do = refused, found, do


@dataclass(frozen=True)
class Limits:
    """Of one program, all its inputs together."""

    cpu_seconds: float = 1.0
    seconds: float = 5.0
    """From start to end, for those that sleep; generous, so that a busy machine changes no verdict."""
    memory_bytes: int = 256 << 20
    """Of address space, the interpreter's own 30 MB included."""


@dataclass(frozen=True)
class Program:
    """Python source, the function in it to call, and one list of arguments per call (JSON)."""

    source: str
    entry: str
    inputs: Sequence[Sequence[Json]]
    limits: Limits = Limits()


@dataclass(frozen=True)
class Answer:
    """Of one input. ``text`` is the value in one spelling of JSON: equal texts are equal values, of equal types."""

    text: str | None
    raised: str | None
    """Name of the exception and what it says, bounded; a claim."""

    @property
    def value(self) -> Json:
        """Made of plain lists, dictionaries, texts, numbers; None where an exception was raised, too."""
        return None if self.text is None else json.loads(self.text)


@dataclass(frozen=True)
class Outcome:
    """What became of a program."""

    verdict: str
    """One of VERDICTS."""
    answers: tuple[Answer, ...]
    """One per input if the verdict is ``returned``; otherwise maybe fewer, or none."""
    said: str
    """What it printed, or why it has no answers: hostile text."""
    seconds: float
    cpu_seconds: float

    def right(self, expected: Sequence[Json]) -> tuple[bool, ...]:
        """Input by input: is the answer this value? Decided here, on texts that no method of the program can touch."""
        texts = [answer.text for answer in self.answers] + [None] * (len(expected) - len(self.answers))
        return tuple(text == spell(value) for text, value in zip(texts, expected, strict=False))


_spelled = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def spell(value: Json) -> str:
    """The one spelling of a JSON value. ``True`` is not ``1``, and ``1`` is not ``1.0``. Raises ValueError."""
    return _spelled(value)


class Jail:
    """The asking end. Whoever holds it owns its sockets, and closes them; zygotes end when theirs are closed."""

    def __init__(self, links: Sequence[socket.socket]) -> None:
        """Returns once every zygote is ready. Raises JailError."""
        self._zygotes = [_Zygote(link) for link in links]
        for one in self._zygotes:
            _wait([one.link], START_SECONDS)
            if (said := one.receive(len(READY) + 1)) != READY:
                raise _gone(f"its first word is {said!r}" if said else "it closed its end")

    @classmethod
    def attached(cls, environment: Mapping[str, str] = os.environ) -> Jail:
        """The jail that a supervisor has given to this process, by inheritance. Raises JailError where there is none.

        Only once: who closes it has given it away.
        """
        given = environment.get(GIVEN, "")
        try:
            links = [socket.socket(fileno=int(number)) for number in given.split(",")]
        except (ValueError, OSError) as error:
            found = f"{GIVEN} is {given!r} ({error})" if given else f"{GIVEN} is not set"
            raise JailError("no jail is attached", found, "give the phase one: 'jail = 2' in [quarantine]") from None
        return cls(links)

    def run(self, program: Program) -> Outcome:
        """Raises JailError."""
        return next(self.run_all([program]))

    def run_all(self, programs: Iterable[Program]) -> Generator[Outcome, None, None]:
        """The outcomes in the order of the programs, which are taken as they can be run. Raises JailError.

        Not while another such iteration goes on. Whoever leaves one early waits for what still runs.
        """
        if any(one.waiting for one in self._zygotes):
            found = "programs are running that were given before"
            raise JailError("no program is taken", found, "take all outcomes, or close the iterator, first")
        try:
            yield from self._outcomes(enumerate(programs))
        except GeneratorExit:
            for one in self._zygotes:
                while one.waiting:
                    one.hear()
            raise

    def _outcomes(self, source: Iterator[tuple[int, Program]]) -> Iterator[Outcome]:
        found: dict[int, Outcome] = {}
        given, more = 0, True
        while True:
            while more and (free := min(self._zygotes, key=lambda one: len(one.waiting))).can_take():
                if more := (following := next(source, None)) is not None:
                    number, program = following
                    if (refused := free.ask(number, program)) is not None:
                        found[number] = refused
            while given in found:
                yield found.pop(given)
                given += 1
            busy = [one for one in self._zygotes if one.waiting]
            if not busy:
                return
            for one in self._ready(busy):
                number, outcome = one.hear()
                found[number] = outcome

    @staticmethod
    def _ready(busy: Sequence[_Zygote]) -> list[_Zygote]:
        most = GRACE_SECONDS + max(program.limits.seconds for one in busy for _, program in one.waiting)
        heard = _wait([one.link for one in busy], most)
        return [one for one in busy if one.link.fileno() in heard]

    def close(self) -> None:
        for one in self._zygotes:
            one.link.close()

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Zygote:
    """One socket: what was asked there and is not answered yet."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.waiting: deque[tuple[int, Program]] = deque()

    def can_take(self) -> bool:
        return len(self.waiting) < AT_ONCE

    def ask(self, number: int, program: Program) -> Outcome | None:
        """Send it down; an outcome at once if it cannot be sent."""
        limits = program.limits
        line = json.dumps([program.source, program.entry, program.inputs]).encode()
        if len(line) > MAX_BODY:
            return Outcome(OVERSIZED, (), f"{len(line)} bytes", 0.0, 0.0)
        head = f"{number} {limits.seconds} {limits.cpu_seconds} {limits.memory_bytes}"
        try:
            self.link.sendall(head.encode())
            self.link.sendall(line)
        except OSError as error:
            raise _gone(error.strerror or str(error)) from None
        self.waiting.append((number, program))
        return None

    def hear(self) -> tuple[int, Outcome]:
        """The next answer, of the program that has waited longest. Raises JailError."""
        record = self.receive(MAX_HEAD + MAX_ANSWER + MAX_SAID + 1)
        number, program = self.waiting.popleft()
        return number, _outcome(record, number, len(program.inputs))

    def receive(self, most: int) -> bytes:
        try:
            return self.link.recv(most)
        except OSError as error:
            raise _gone(error.strerror or str(error)) from None


def _wait(links: Sequence[socket.socket], seconds: float) -> set[int]:
    """The descriptors of those that have something to say, or have ended. Raises JailError after so long a silence."""
    poll = select.poll()
    for link in links:
        poll.register(link, select.POLLIN)
    while not (events := poll.poll(1000 * TICK_SECONDS)):
        seconds -= TICK_SECONDS  # counted in ticks: time in which all of us were frozen is no one's fault
        if seconds <= 0:
            raise JailError("the jail is given up", "a zygote does not answer", "start another jail")
    return {descriptor for descriptor, _ in events}


def _gone(found: str) -> JailError:
    return JailError("the jail is given up", f"a zygote is gone ({found})", "start another jail")


def _outcome(record: bytes, number: int, inputs: int) -> Outcome:
    """Read what came up. Raises JailError where the zygote itself, not the program, says something impossible."""
    head, _, rest = record.partition(b"\n")
    if not record:
        raise _gone("it closed its end")
    try:
        facts = json.loads(head)
        if facts["id"] != number or facts["answer"] + facts["said"] != len(rest):
            raise ValueError("its numbers do not fit")
        end, seconds, cpu = str(facts["end"]), float(facts["seconds"]), float(facts["cpu_seconds"])
    except (ValueError, TypeError, KeyError) as error:
        raise JailError(
            "the jail is given up", f"a zygote answers nonsense ({error!r})", "start another jail"
        ) from None
    answer, said = rest[: facts["answer"]], rest[facts["answer"] :].decode(errors="replace")
    verdict, answers, why = _judge(end, answer, inputs)
    return Outcome(verdict, answers, why or said, seconds, cpu)


def _judge(end: str, answer: bytes, inputs: int) -> tuple[str, tuple[Answer, ...], str]:
    """Name how a program ended. ``end`` is the zygote's word, ``answer`` the program's."""
    if end in (TIMEOUT, FLOODED):
        return end, (), ""
    kind, _, value = end.partition(" ")
    if kind == "signal":
        names = {SIGSYS: DENIED, SIGXCPU: TIMEOUT, SIGPROF: TIMEOUT}
        return names.get(int(value), CRASHED), (), f"signal {value}"
    if value != "0" or not answer:
        return LEFT, (), ""
    try:
        rows = json.loads(answer)
        if not isinstance(rows, list) or len(rows) > inputs + 1:
            raise ValueError("not one answer per input")
        answers = tuple(_answer(row) for row in rows)
    except (ValueError, TypeError, RecursionError) as error:
        return GARBLED, (), repr(error)[:200]
    for one in answers:
        if one.raised is not None:
            return MEMORY if one.raised.startswith("MemoryError") else RAISED, answers, one.raised
    return (RETURNED, answers, "") if len(answers) == inputs else (GARBLED, (), "not one answer per input")


def _answer(row: Json) -> Answer:
    """``[value]`` or ``["raised", why]``. Raises ValueError, TypeError, RecursionError."""
    if isinstance(row, list) and len(row) == 1:
        return Answer(spell(row[0]), None)
    kind, why = row
    if kind != RAISED or not isinstance(why, str) or len(why) > 400:
        raise ValueError("neither a value nor an exception")
    return Answer(None, why)
