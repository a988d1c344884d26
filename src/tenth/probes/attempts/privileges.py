"""Attempts at more privileges: namespaces, users, capabilities, limits, secrets left lying about."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from pathlib import Path

from tenth.probes.attempts.means import Facts, call


def make_a_namespace_of_users(_: Facts) -> object:
    return call((272, 97), 0x10000000)


def make_a_network_of_its_own(_: Facts) -> object:
    return call((272, 97), 0x40000000)


def start_a_child_in_a_namespace(_: Facts) -> object:
    if (pid := call((56, 220), 0x10000000 | signal.SIGCHLD, None, None, None, None)) == 0:
        os._exit(0)
    return pid


def start_a_child_by_the_newer_call(_: Facts) -> object:
    arguments = ctypes.create_string_buffer(struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    if (pid := call((435, 435), arguments, 64)) == 0:
        os._exit(0)
    return pid


def enter_a_namespace_of_the_host(_: Facts) -> object:
    return call((308, 268), os.open("/proc/self/ns/net", os.O_RDONLY) if os.path.exists("/proc/self/ns") else 0, 0)


def become_root(_: Facts) -> object:
    if os.getuid() == 0:
        os.setuid(1)  # needs a capability, which root inside must not have
        return "changed user"
    os.setuid(0)
    return "root"


def gain_capabilities(_: Facts) -> object:
    header, data = struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", *(0xFFFFFFFF,) * 6)
    return call((126, 91), header, data)


def raise_its_limits(_: Facts) -> object:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return "core dumps are on"


def raise_its_priority(_: Facts) -> object:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    return "raised"


def run_as_the_owner_of_a_program(_: Facts) -> object:
    Path("owned").touch()
    os.chown("owned", 1, 1)
    if os.stat("owned").st_uid != 1:
        raise PermissionError("it said that it was done, and nothing was")
    return "given away"


def read_secrets_in_its_environment(facts: Facts) -> object:
    found = [name for name, value in os.environ.items() if facts["outside"] in value]
    if not found:
        raise FileNotFoundError("none")
    return found
