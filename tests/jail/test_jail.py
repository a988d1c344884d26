"""The jail: every attack ends in a named verdict, no cheat is rewarded, and the next program runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from puzzles.cheats import CHEATS
from tenth.jail import keeper, policy, probes, wire
from tenth.jail.wire import Jail, JailError, Limits, Program
from tenth.quarantine import landlock, sandbox, seccomp

HONEST = Program("def f(x):\n    return [one * 2 for one in x]\n", "f", [[[1, 2]], [[]]])
BACK_ENDS = ["bubblewrap", "Landlock"]


WALLS = sandbox.bubblewrap()


def choose(name: str, patch: pytest.MonkeyPatch) -> None:
    if name == "bubblewrap" and not WALLS:
        pytest.skip("bubblewrap is not installed or not allowed here")
    if name == "Landlock" and not landlock.version():
        pytest.skip("no Landlock in this kernel")
    patch.setattr(sandbox, "bubblewrap", lambda: WALLS if name == "bubblewrap" else None)


@pytest.fixture(scope="module", params=BACK_ENDS)
def jail(request: pytest.FixtureRequest) -> Iterator[Jail]:
    """Opening it runs every probe."""
    with pytest.MonkeyPatch.context() as patch:
        choose(request.param, patch)
        with keeper.opened() as one:
            yield one


def still_runs(jail: Jail) -> None:
    outcome = jail.run(HONEST)
    assert outcome.verdict == wire.RETURNED
    assert outcome.right([[2, 4], []]) == (True, True)


def test_an_honest_program_is_answered_input_by_input(jail: Jail) -> None:
    outcome = jail.run(Program("def f(x, y): return x / y", "f", [[1, 2], [1, 0], [4, 2]]))
    assert outcome.verdict == wire.RAISED
    assert outcome.said == "ZeroDivisionError: division by zero"
    assert [one.value for one in outcome.answers] == [0.5, None, 2.0]
    assert outcome.right([0.5, 1, 2]) == (True, False, False), "2.0 is not 2"
    assert jail.run(Program("def f(): return {'a': (1, None)}", "f", [[]])).right([{"a": [1, None]}]) == (True,)
    assert jail.run(Program("def f(): return True", "f", [[]])).right([1]) == (False,)


def test_outcomes_come_in_order(jail: Jail) -> None:
    programs = [Program("def f(n): return n", "f", [[n]]) for n in range(20)]
    assert [one.answers[0].value for one in jail.run_all(programs)] == list(range(20))


def test_outcomes_of_one_asking_are_never_taken_for_those_of_another(jail: Jail) -> None:
    first = jail.run_all([Program("def f(n): return n", "f", [[n]]) for n in range(5)])
    assert next(first).answers[0].value == 0
    with pytest.raises(JailError, match="no program is taken"):
        jail.run(HONEST)
    first.close()
    still_runs(jail)


def test_all_probes_are_held_and_are_many() -> None:
    assert len(probes.PROBES) >= 24
    assert len({probe.name for probe in probes.PROBES}) == len(probes.PROBES)


@pytest.mark.parametrize("probe", probes.PROBES, ids=lambda probe: probe.name)
def test_every_attack_ends_in_its_verdict_and_the_next_program_runs(jail: Jail, probe: probes.Probe) -> None:
    outcome = jail.run(probe.program())
    assert outcome.verdict in wire.VERDICTS
    assert probe.record(outcome)["contained"], outcome
    still_runs(jail)


def test_programs_that_are_no_programs_have_verdicts_too(jail: Jail) -> None:
    assert jail.run(Program("def f(", "f", [[]])).verdict == wire.RAISED
    assert jail.run(Program("x = 1", "f", [[]])).said.startswith("KeyError")
    assert jail.run(Program("#" + "x" * wire.MAX_BODY, "f", [[]])).verdict == wire.OVERSIZED
    assert jail.run(Program("def f(): return float('nan')", "f", [[]])).verdict == wire.RAISED
    assert jail.run(Program("def f(): return '\ud800'", "f", [[]])).verdict == wire.RAISED
    assert (
        jail.run(Program("class E(Exception):\n def __str__(s): raise s\ndef f(): raise E", "f", [[]])).verdict
        == "raised"
    )
    still_runs(jail)


def test_a_program_that_gets_no_time_at_all_harms_no_other(jail: Jail) -> None:
    """Killed at its first moment, it has taken its inputs from the socket nonetheless."""
    hasty = Program("import time\ndef f(): time.sleep(9)", "f", [[]], Limits(seconds=0.0))
    for outcome in jail.run_all([hasty, hasty, HONEST]):
        assert outcome.verdict in (wire.TIMEOUT, wire.RETURNED)
    still_runs(jail)


def test_what_was_printed_is_kept_and_bounded(jail: Jail) -> None:
    outcome = jail.run(Program("def f():\n print('x' * 50000)\n return 1", "f", [[]]))
    assert outcome.verdict == wire.RETURNED
    assert outcome.said == "x" * wire.MAX_SAID


def test_one_program_leaves_nothing_to_the_next(jail: Jail) -> None:
    marking = Program("import json, random\ndef f(x):\n json.x = 1\n len.__self__.len = print\n return 1", "f", [[0]])
    assert jail.run(marking).verdict in (wire.RAISED, wire.RETURNED)
    seen = Program("import random\ndef f(): return [hasattr(random, 'x'), len('abc')]", "f", [[]])
    assert jail.run(seen).right([[False, 3]]) == (True,)


# --- no cheat is rewarded ---------------------------------------------------------------------------------------------

EXPECTED = [[987654, 2], [3, 987654]]
"""No input leads there; who returned this has found it."""


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_is_rewarded(jail: Jail, name: str) -> None:
    outcome = jail.run(Program(CHEATS[name], "f", [[[1]], [[2]]], Limits(0.3, 0.7)))
    assert outcome.right(EXPECTED) == (False, False)
    assert outcome.verdict in wire.VERDICTS
    still_runs(jail)


def test_the_list_of_cheats_is_long() -> None:
    assert len(CHEATS) >= 20


# --- it fails closed --------------------------------------------------------------------------------------------------


def open_door(*more: int) -> bytes:
    """The policy with some calls, or all, allowed on top."""
    code = policy.program()
    allow, kill = (answer.to_bytes(4, "little") for answer in (seccomp.ALLOW, seccomp.KILL))
    head, rest = code[:32], code[32:]
    if not more:
        return head + rest.replace(kill, allow)
    extra = b"".join(
        bytes([seccomp.EQUAL, 0, 0, 1]) + n.to_bytes(4, "little") + bytes([6, 0, 0, 0]) + allow for n in more
    )
    return head + extra + rest


def filtered_by(code: bytes, patch: pytest.MonkeyPatch) -> None:
    """Start jails with this filter from now on."""
    program = (
        "import sys\nfrom tenth.jail import __main__, policy\n"
        f"policy.program = lambda: {code!r}\nsys.exit(__main__.main(sys.argv[1:]))"
    )
    patch.setattr(keeper, "COMMAND", (sys.executable, "-P", "-B", "-c", program))


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("calls", [(), (policy.REFUSED["rt_sigaction"][0], policy.REFUSED["rt_sigaction"][1])])
def test_nothing_runs_where_one_probe_gets_through(
    monkeypatch: pytest.MonkeyPatch, calls: tuple[int, ...], back_end: str
) -> None:
    choose(back_end, monkeypatch)
    filtered_by(open_door(*calls), monkeypatch)
    with pytest.raises(JailError, match="not held"), keeper.opened():
        pytest.fail("it opened")


def test_the_report_of_a_jail_has_a_row_for_each_attack() -> None:
    assert [row["name"] for row in keeper.report() if row["contained"]] == [probe.name for probe in probes.PROBES]


def test_nothing_runs_without_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "level", lambda: "none")
    with pytest.raises(JailError, match="no jail is started"), keeper.opened():
        pytest.fail("it opened")


def test_a_jail_in_which_nothing_runs_does_not_pass_for_one_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = policy.program().replace(seccomp.ALLOW.to_bytes(4, "little"), seccomp.KILL.to_bytes(4, "little"))
    filtered_by(nothing, monkeypatch)
    with pytest.raises(JailError, match="an honest program runs"), keeper.opened():
        pytest.fail("it opened")


# --- its processes ----------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """Every process below this one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def zygotes() -> list[int]:
    return [one for one in children(os.getpid()) if b"zygote.py" in Path(f"/proc/{one}/cmdline").read_bytes()]


def memory(pid: int) -> bytes:
    """All that a process has written to its memory."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds, rights = line.split()[:2]
            if rights.startswith("rw"):
                low, high = (int(word, 16) for word in bounds.split("-"))
                file.seek(low)
                found.append(file.read(high - low) or b"")
    return b"".join(found)


def test_the_memory_that_programs_inherit_holds_nothing_of_earlier_ones(jail: Jail) -> None:
    word = "mark"
    source = f"def f(x):\n # {word}-source-5150\n print('{word}' + '-printed-5150')\n return '{word}' + '-out-5150' + x"
    for _ in range(3):
        assert jail.run(Program(source, "f", [["mark-in-5150"]])).verdict == wire.RETURNED
    still_runs(jail)  # before this one was forked, what the others had answered was wiped
    innermost = zygotes()[-1]
    held = memory(innermost)
    assert b"MemoryError" in held, "its memory was read"
    assert b"-5150" not in held


def test_a_jail_that_is_frozen_for_a_while_changes_no_verdict() -> None:
    """A pull freezes everyone: the clock goes on, and a program's time must not (promise 3)."""
    slow = Program("import time\ndef f():\n time.sleep(0.3)\n return 1", "f", [[]], Limits(seconds=1.5))
    with keeper.opened() as jail:
        mine = children(os.getpid())
        freezing = (
            "import os, signal, sys, time\npids = [int(one) for one in sys.argv[1:]]\ntime.sleep(0.1)\n"
            "for number in (signal.SIGSTOP, signal.SIGCONT):\n"
            " [os.kill(one, number) for one in pids]\n time.sleep(2.5)\n"
        )
        inside = [str(one) for one in mine if b"zygote.py" in Path(f"/proc/{one}/cmdline").read_bytes()]
        with subprocess.Popen([sys.executable, "-c", freezing, *inside]) as freezer:
            outcomes = list(jail.run_all([slow] * 3))
            freezer.terminate()
    assert [one.verdict for one in outcomes] == [wire.RETURNED] * 3
    assert max(one.seconds for one in outcomes) > 2, "one of them was frozen"


def test_a_zygote_that_dies_is_an_error_of_the_jail_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children(os.getpid())
    with keeper.opened() as jail:
        mine = [one for one in children(os.getpid()) if one not in before]
        assert mine
        for one in mine:
            if b"zygote.py" in Path(f"/proc/{one}/cmdline").read_bytes():
                os.kill(one, signal.SIGKILL)
        with pytest.raises(JailError):
            list(jail.run_all([HONEST] * 3))
    assert not [one for one in children(os.getpid()) if one in mine]


def test_the_jail_dies_with_whoever_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom tenth.jail import keeper\n"
        "with keeper.opened() as jail:\n print(os.getpid(), flush=True)\n time.sleep(60)\n"
    )
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=place) as owner:
        assert owner.stdout is not None
        assert int(owner.stdout.readline()) == owner.pid
        below = children(owner.pid)
        assert below
        owner.kill()
    until = time.monotonic() + 10
    while (alive := [one for one in below if Path(f"/proc/{one}/cmdline").exists()]) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive


ASKING = """
import json, sys
from tenth.jail.wire import Jail, Program
assert not {name for name in sys.modules if name.startswith("tenth.") and not name.startswith("tenth.jail")}
with Jail.attached() as jail:
    programs = [Program("def f(x): return x * x", "f", [[n]]) for n in range(30)]
    print(json.dumps([one.answers[0].value for one in jail.run_all(programs)]))
"""


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_supervisor_may_give_a_jail_to_a_trainer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, back_end: str
) -> None:
    """By hand, as a supervisor would: one command in a sandbox, and one end of each socket pair for each of both."""
    choose(back_end, monkeypatch)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    theirs, ours = [jails.fileno() for jails, _ in pairs], [trainers.fileno() for _, trainers in pairs]
    cell = sandbox.Cell(
        writable=tmp_path, readable=[], hidden=[], sealed=[], cwd=tmp_path, env={}, output_bytes=0
    )  # fmt: skip
    with sandbox.entering([*keeper.COMMAND, *map(str, theirs)], cell) as (line, more):
        process = subprocess.Popen(line, cwd=tmp_path, env=sandbox.environment(cell), pass_fds=[*more, *theirs])
    with process:
        for jails, _ in pairs:
            jails.close()
        place = {**os.environ, wire.GIVEN: ",".join(map(str, ours))}
        trainer = [sys.executable, "-c", ASKING]
        done = subprocess.run(trainer, pass_fds=ours, env=place, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [n * n for n in range(30)]
        for _, end in pairs:
            end.close()
        assert process.wait(20) == 0, "it ends when nobody can ask any more"


@pytest.mark.parametrize("given", ["", "77", "none", "3,"])
def test_where_no_jail_was_given_none_is_attached(given: str) -> None:
    with pytest.raises(JailError, match="TENTH_JAIL"):
        Jail.attached({"TENTH_JAIL": given})


def test_the_numbers_of_the_policy_are_the_kernels() -> None:
    import system_calls

    for place, header in enumerate(system_calls.HEADERS.values()):
        if not header.exists():
            pytest.skip("no headers of the kernel here")
        known = system_calls.numbers(header)
        for name, numbers in {**policy.ALLOWED, **policy.REFUSED, "openat": policy.OPENAT}.items():
            assert known[name] == numbers[place], name
