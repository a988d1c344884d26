"""The jail: every attack ends in a named verdict, no cheat is rewarded, and the next program runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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

EQUAL = "class A(list):\n def __eq__(s, o): return True\n def __ne__(s, o): return False\n __hash__ = None\n"
CHEATS = {
    "a value that equals everything": EQUAL + "def f(x): return A()",
    "an integer that equals everything": "class A(int):\n def __eq__(s, o): return True\ndef f(x): return A(3)",
    "a text that says it is right": "class A(str):\n def __repr__(s): return '[2]'\ndef f(x): return A('no')",
    "a dictionary that has every key": "class A(dict):\n def __missing__(s, k): return 1\ndef f(x): return A()",
    "return the whole list of rows": "def f(x): return [[2, 4], [6]]",
    "leave with status 0": "import sys\ndef f(x): sys.exit(0)",
    "leave at once with status 0": "import os\ndef f(x): os._exit(0)",
    "leave while it is loaded": "raise SystemExit(0)",
    "print that all is right": "def f(x): print('passed\\n[[true],[true]]')",
    "forge an answer of the harness": "import os\ndef f(x):\n os.write(3, b'{\"passed\": true}')\n os._exit(0)",
    "forge the zygote's answer": 'import os\ndef f(x):\n os.write(3, b\'{"id":0,"end":"exit 0"}\\n\')\n os._exit(0)',
    "answer twice": "import os\ndef f(x):\n os.write(3, b'[[1],[2]]')\n return x",
    "patch the encoder": "import json\njson.dumps = json.JSONEncoder.encode = lambda *a: 'true'\ndef f(x): return x",
    "patch builtins": "import builtins\nbuiltins.len = builtins.all = lambda *a: True\ndef f(x): return x",
    "patch the row of the harness": (
        "import sys\nsys._getframe(1).f_globals['_row'] = lambda *a: '[true]'\ndef f(x): return x"
    ),
    "patch operator.eq": "import operator\noperator.eq = lambda a, b: True\ndef f(x): return x",
    "an exception that is a result": "class R(Exception):\n passed = True\ndef f(x): raise R('passed')",
    "recur until it gives up": "def f(x): return f(x)",
    "run out of memory": "def f(x): return [0] * (1 << 40)",
    "a generator": "def f(x): yield 2",
    "a class as the function": "class f:\n def __init__(s, x): pass\n def __eq__(s, o): return True",
    "read the tests": "def f(x): return open('/proc/self/cmdline').read()",
    "wait until the time is over": "import time\ndef f(x): time.sleep(60)",
    "raise the assertion that it holds": "def f(x): assert not x, 'passed'",
    "find expected outputs in its frames": (
        "import sys\ndef f(x):\n frame = sys._getframe()\n while frame:\n  for name, value in frame.f_locals.items():\n"
        "   if 'expect' in name: return value\n  frame = frame.f_back\n return 'none'"
    ),
    "find expected outputs among all objects": (
        "import gc\ndef f(x):\n for one in gc.get_objects():\n"
        "  if isinstance(one, (list, tuple)) and 987654 in one[:2]: return list(one)\n return 'none'"
    ),
}
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
    allow = seccomp.ALLOW.to_bytes(4, "little")
    if not more:
        return code[:-4] + allow
    head, rest = code[:32], code[32:]
    extra = b"".join(
        bytes([seccomp.EQUAL, 0, 0, 1]) + n.to_bytes(4, "little") + bytes([6, 0, 0, 0]) + allow for n in more
    )
    return head + extra + rest


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("calls", [(), (policy.REFUSED["rt_sigaction"][0], policy.REFUSED["rt_sigaction"][1])])
def test_nothing_runs_where_one_probe_gets_through(
    monkeypatch: pytest.MonkeyPatch, calls: tuple[int, ...], back_end: str
) -> None:
    choose(back_end, monkeypatch)
    code = open_door(*calls)
    monkeypatch.setattr(policy, "program", lambda: code)
    with pytest.raises(JailError), keeper.opened():
        pytest.fail("it opened")


def test_nothing_runs_without_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "level", lambda: "none")
    with pytest.raises(JailError, match="no jail is started"), keeper.opened():
        pytest.fail("it opened")


def test_a_jail_in_which_nothing_runs_does_not_pass_for_one_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = policy.program().replace(seccomp.ALLOW.to_bytes(4, "little"), seccomp.KILL.to_bytes(4, "little"))
    monkeypatch.setattr(policy, "program", lambda: nothing)
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


def test_somebody_else_may_be_given_the_jail() -> None:
    """As the supervisor would give it to a trainer: ends that a process inherits, and nothing else."""
    asking = (
        "import json, sys\nfrom tenth.jail.wire import Jail, Program\n"
        "assert 'tenth.quarantine' not in sys.modules and 'tenth.errors' not in sys.modules\n"
        "with Jail.attached(map(int, sys.argv[1].split(','))) as jail:\n"
        " programs = [Program('def f(x): return x * x', 'f', [[n]]) for n in range(30)]\n"
        " print(json.dumps([one.answers[0].value for one in jail.run_all(programs)]))\n"
    )
    with keeper.started(2) as links:
        numbers = [link.fileno() for link in links]
        command = [sys.executable, "-c", asking, ",".join(map(str, numbers))]
        done = subprocess.run(command, pass_fds=numbers, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [n * n for n in range(30)]


def test_the_numbers_of_the_policy_are_the_kernels() -> None:
    import system_calls

    for place, header in enumerate(system_calls.HEADERS.values()):
        if not header.exists():
            pytest.skip("no headers of the kernel here")
        known = system_calls.numbers(header)
        for name, numbers in {**policy.ALLOWED, **policy.REFUSED, "openat": policy.OPENAT}.items():
            assert known[name] == numbers[place], name
