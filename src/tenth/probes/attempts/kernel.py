"""Attempts at the kernel and the machine: programs in it, keys, clocks, settings, its other doors."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

from tenth.probes.attempts.means import X86, Facts, call


def load_a_program_into_the_kernel(_: Facts) -> object:
    return call((321, 280), 0, ctypes.create_string_buffer(128), 128)


def watch_the_processor(_: Facts) -> object:
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 120, 0) + bytes(104))
    return call((298, 241), attributes, 0, -1, -1, 0)


def have_itself_woken(_: Facts) -> object:
    event = struct.pack("QiiQQQQQQ", 0, signal.SIGCONT, 0, 0, 0, 0, 0, 0, 0)
    return call((222, 107), 1, event, ctypes.create_string_buffer(8))


def use_the_key_ring(_: Facts) -> object:
    return call((250, 219), 0, -3, 1)


def add_a_key(_: Facts) -> object:
    return call((248, 217), b"user", b"tenth", b"x", 1, -3)


def hold_the_kernel_in_a_page_fault(_: Facts) -> object:
    return call((323, 282), 1)


def load_a_module(_: Facts) -> object:
    return call((175, 105), None, 0, b"")


def replace_the_kernel(_: Facts) -> object:
    return call((246, 104), 0, 0, None, 0xFFFF)


def set_the_clock(_: Facts) -> object:
    return call((227, 112), 0, struct.pack("qq", 0, -1))  # minus one nanosecond


def set_the_time_of_day(_: Facts) -> object:
    return call((164, 170), struct.pack("qq", 0, -1), None)


def bend_the_clock(_: Facts) -> object:
    return call((159, 171), struct.pack("I", 0x4000) + bytes(204))  # ticks of no length


def rename_the_machine(_: Facts) -> object:
    return call((170, 161), b"", -1)


def reboot(_: Facts) -> object:
    return call((169, 142), 0, 0, 0, 0)  # wrong magic: were it heard, the answer would be EINVAL


def read_the_log_of_the_kernel(_: Facts) -> object:
    return call((103, 116), 3, ctypes.create_string_buffer(64), 64)


def swap_to_a_file(_: Facts) -> object:
    return call((167, 224), b"swap", 0)


def write_a_setting_of_the_kernel(_: Facts) -> object:
    return os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)


def pull_the_magic_lever(_: Facts) -> object:
    return os.open("/proc/sysrq-trigger", os.O_WRONLY)


def type_into_a_terminal(_: Facts) -> object:
    return call((16, 29), 0, 0x5412, b"x")


def use_the_other_numbering_of_calls(_: Facts) -> object:
    if not X86:
        raise OSError(errno.ENOSYS, "there is one numbering only")
    return call((0x40000000 + 41, 0), 2, 1, 0)


def switch_off_random_addresses(_: Facts) -> object:
    return call((135, 92), 0x0040000)
