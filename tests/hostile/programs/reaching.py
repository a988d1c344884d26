"""Trainers that reach out: to keys, logs, networks, other processes, the kernel. What each met goes into ``loot``."""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import door

Facts = dict[str, Any]
libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"


def _call(numbers: tuple[int, int], *arguments: Any) -> int:
    """A system call by number (x86_64, aarch64)."""
    result = int(libc.syscall(numbers[0] if X86 else numbers[1], *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _try(**actions: Callable[[], object]) -> None:
    """All of them, and then an honest end."""
    lease, loot = door.hello(), {}
    for name, action in actions.items():
        try:
            loot[name] = f"done: {action()!r}"[:200]
        except (OSError, ValueError) as error:
            loot[name] = f"{type(error).__name__}: {error}"
    door.done(lease, loot=json.dumps(loot))


def _connect(family: int, kind: int, address: Any) -> Callable[[], object]:
    def action() -> None:
        with socket.socket(family, kind) as one:
            one.settimeout(0.5)
            one.connect(address)
            one.send(b"out")

    return action


# --- what it could read ----------------------------------------------------------------------------------------------


def reads_keys_and_log(facts: Facts) -> None:
    _try(**{path: (lambda path=path: len(Path(path).read_bytes())) for path in facts["secrets"]})


def reads_its_parents(facts: Facts) -> None:
    """Environment, memory, descriptors and folders of whoever started it."""
    pids = [os.getppid(), 1, facts["supervisor"]]
    places = {f"{pid} {name}": f"/proc/{pid}/{name}" for pid in pids for name in ("environ", "maps", "auxv")}
    actions: dict[str, Callable[[], object]] = {
        name: lambda path=path: facts["mark"] in Path(path).read_text(errors="replace") or _nothing()
        for name, path in places.items()
    }
    actions |= {f"{pid} mem": lambda pid=pid: os.open(f"/proc/{pid}/mem", os.O_RDWR) for pid in pids[2:]}
    actions |= {f"{pid} root": lambda pid=pid: os.listdir(f"/proc/{pid}/root{facts['run']}/log") for pid in pids}
    actions |= {f"{pid} fd": lambda pid=pid: os.listdir(f"/proc/{pid}/fd") for pid in pids[2:]}
    actions |= {f"{pid} cwd": lambda pid=pid: os.listdir(f"/proc/{pid}/cwd/runs") for pid in pids[2:]}
    _try(**actions)


def _nothing() -> bool:
    raise OSError(0, "nothing of the host in it")


# --- where it could connect ------------------------------------------------------------------------------------------


def connects(facts: Facts) -> None:
    _try(
        tcp=_connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", facts["tcp"])),
        udp=_connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", facts["udp"])),
        vsock=_connect(40, socket.SOCK_STREAM, (2, facts["tcp"])),
        netlink=lambda: socket.socket(16, socket.SOCK_RAW, 0).bind((0, 0)),
        packet=lambda: socket.socket(17, socket.SOCK_RAW, 0x0300),
        abstract=_connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + facts["abstract"]),
        unix=_connect(socket.AF_UNIX, socket.SOCK_STREAM, facts["unix"]),
        control=_connect(socket.AF_UNIX, socket.SOCK_STREAM, facts["control"]),
        uring=lambda: _call((425, 425), 1, ctypes.create_string_buffer(120)),
    )


def uses_what_was_left_open(facts: Facts) -> None:
    """A descriptor that it inherited and was not given."""
    found = {}
    for number in range(3, 1024):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        if number != int(os.environ["TENTH_FD"]):
            found[str(number)] = f"done: inherited, mode {mode:o}"
    lease = door.hello()
    door.done(lease, loot=json.dumps(found))


# --- whom it could touch ---------------------------------------------------------------------------------------------


def signals_others(facts: Facts) -> None:
    """By SIGCONT, which harms nobody who runs."""
    pids = {"bystander": facts["bystander"], "supervisor": facts["supervisor"]}
    _try(**{name: (lambda pid=pid: os.kill(pid, signal.SIGCONT)) for name, pid in pids.items()})


def slows_others_down(facts: Facts) -> None:
    """The supervisor and a bystander: priority, processors, scheduler, input and output."""
    actions: dict[str, Callable[[], object]] = {}
    for name in ("bystander", "supervisor"):
        pid = facts[name]
        actions |= {
            f"{name} priority": lambda pid=pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
            f"{name} processors": lambda pid=pid: os.sched_setaffinity(pid, {0}),
            f"{name} scheduler": lambda pid=pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
            f"{name} input": lambda pid=pid: _call((251, 30), 1, pid, 3 << 13),
            f"{name} attributes": lambda pid=pid: _call(
                (314, 274), pid, struct.pack("IIQiIQQQ", 48, 5, 0, 0, 0, 0, 0, 0), 0
            ),
            f"{name} limits": lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64)),
        }
    _try(**actions)


def traces_another(facts: Facts) -> None:
    _try(trace=lambda: _call((101, 117), 16, facts["bystander"], 0, 0))


def writes_anothers_memory(facts: Facts) -> None:
    _try(write=lambda: _call((311, 271), facts["bystander"], None, 0, None, 0, 0))


def reads_anothers_memory(facts: Facts) -> None:
    _try(read=lambda: _call((310, 270), facts["bystander"], None, 0, None, 0, 0))


def traces_in_a_child(facts: Facts) -> None:
    """Only the child is killed for it, and the trainer itself may be none the wiser."""

    def trace() -> int:
        if (pid := os.fork()) == 0:
            _call((101, 117), 16, facts["bystander"], 0, 0)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise OSError(0, f"the child ended with {status}")
        return status

    _try(child=trace)


# --- what it could change --------------------------------------------------------------------------------------------


def sets_the_clock(facts: Facts) -> None:
    _try(clock=lambda: _call((227, 112), 0, struct.pack("qq", 0, -1)))


def bends_the_clock(facts: Facts) -> None:
    _try(ticks=lambda: _call((159, 171), struct.pack("I", 0x4000) + bytes(204)))


def remounts(facts: Facts) -> None:
    _try(mount=lambda: _call((165, 40), b"none", b"/nowhere/tenth", None, 32, None))


def unmounts(facts: Facts) -> None:
    _try(umount=lambda: _call((166, 39), b"/nowhere/tenth", 2))


def nests_a_namespace(facts: Facts) -> None:
    _try(unshare=lambda: _call((272, 97), 0x10000000 | 0x00020000))


def nests_a_namespace_by_the_newer_call(facts: Facts) -> None:
    def clone() -> int:
        arguments = struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        if (pid := _call((435, 435), ctypes.create_string_buffer(arguments), 64)) == 0:
            os._exit(0)
        return pid

    _try(clone=clone)


def gains_privileges(facts: Facts) -> None:
    """Capabilities, another user, a program that is its owner's."""
    header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", *(0xFFFFFFFF,) * 6)
    _try(
        capabilities=lambda: _call((126, 91), header, data),
        user=lambda: os.setuid(1 if os.getuid() == 0 else 0),
        chroot=lambda: os.chroot("."),
        bounds=lambda: _call((157, 167), 23, 21) or _nothing(),
        filter=lambda: _call((317, 277), 1, 0, None),
    )


def forges_a_consent(facts: Facts) -> None:
    """Into the run directory, the log and the control socket."""
    run, forged = Path(facts["run"]), json.dumps(facts["envelope"])
    consents = run / facts["sealed"] / "consents"

    def submit() -> object:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(run / "control.sock"))
            one.sendall(json.dumps({"do": "submit", "envelope": facts["envelope"]}).encode() + b"\n")
            return one.recv(100)

    def append() -> object:
        with (run / "log" / "entries.jsonl").open("a") as file:
            return file.write(forged + "\n")

    _try(
        folder=lambda: consents.mkdir(parents=True),
        file=lambda: (consents / "bob.json").write_text(forged),
        planted=lambda: (run / "gates" / "bob.json").write_text(forged),
        log=append,
        socket=submit,
        link=lambda: (run / "work" / "gates").hardlink_to(run / "charter.toml"),
        charter=lambda: (run / "charter.toml").write_text(""),
        key=lambda: (run / "supervisor.key").write_text(""),
    )


def says_what_steers_terminals(facts: Facts) -> None:
    lease = door.hello()
    for text in facts["texts"]:
        door.say(frame="sample", step=1, prompt=text[:100], text=text, temperature=1)
    door.progress(1, metrics={"\x1b[31mloss": 1.0, "\u202e": 2.0})
    print("\x1b]0;title\x07 in trainer.log", file=sys.stderr)
    door.done(lease, loot="{}")
