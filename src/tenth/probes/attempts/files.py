"""Attempts at files: of the host, of the system, of disks; and at mounts, which would bring more of them."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import sys
from pathlib import Path

from tenth.probes.attempts.means import NOWHERE, Facts, call, unseen


def read_a_file_of_the_host(facts: Facts) -> str:
    return Path(facts["secret"]).read_text()


def list_a_folder_of_the_host(facts: Facts) -> object:
    return os.listdir(Path(facts["secret"]).parent)


def write_a_file_of_the_host(facts: Facts) -> object:
    return Path(facts["secret"]).with_name("planted").write_text("out")


def read_the_passwords(_: Facts) -> str:
    return Path("/etc/shadow").read_text()


def read_the_keys_of_the_user(facts: Facts) -> object:
    found = [name for folder in facts["keys"] for name in os.listdir(folder)]
    if not found:
        raise FileNotFoundError("nothing is there")
    return found


def read_through_a_symlink(facts: Facts) -> str:
    Path("link").symlink_to(facts["secret"])
    return Path("link").read_text()


def read_through_the_root_of_the_first_process(facts: Facts) -> str:
    return Path(f"/proc/1/root{facts['secret']}").read_text()


def read_through_the_folder_of_another_process(facts: Facts) -> str:
    return Path(f"/proc/{facts['victim']}/root{facts['secret']}").read_text()


def take_a_hard_link_in(facts: Facts) -> str:
    os.link(facts["secret"], "hard")
    return Path("hard").read_text()


def open_a_file_by_its_handle(_: Facts) -> object:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + bytes(8))
    return call((304, 265), -100, handle, 0)


def climb_out_of_the_folder(_: Facts) -> object:
    (Path("..") / "planted").write_text("out")
    raise PermissionError("written; whether it arrived is seen outside")


def _unnamed(folder: str) -> str:
    """A file without a name in a folder, gone when it is closed."""
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    return f"{folder} can be written to"


def write_into_the_programs(_: Facts) -> object:
    return _unnamed("/usr/bin")


def write_into_the_settings(_: Facts) -> object:
    return _unnamed("/etc")


def change_its_own_interpreter(_: Facts) -> object:
    return _unnamed(f"{sys.prefix}/lib")


def map_a_program_of_the_system_to_write(_: Facts) -> object:
    with open("/usr/bin/env", "r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def make_a_device(_: Facts) -> object:
    os.mknod("disk", 0o600 | 0o060000, os.makedev(254, 0))
    return "made"


def read_a_disk(_: Facts) -> object:
    for name in ("vda", "sda", "nvme0n1", "mem", "kmsg", "port"):
        if os.path.exists(f"/dev/{name}"):
            return os.open(f"/dev/{name}", os.O_RDONLY)
    raise FileNotFoundError("no disk is shown")


def mount_something(_: Facts) -> object:
    return call((165, 40), b"none", NOWHERE, b"tmpfs", 0, None)


def mount_the_world_again_to_write(_: Facts) -> object:
    return call((165, 40), b"none", NOWHERE, None, 32, None)


def take_a_cover_away(_: Facts) -> object:
    return call((166, 39), NOWHERE, 2)


def mount_by_the_newer_calls(_: Facts) -> object:
    return call((430, 430), b"no such file system", 0)


def change_the_root(_: Facts) -> object:
    return call((155, 41), NOWHERE, NOWHERE)


def leave_through_chroot(_: Facts) -> object:
    os.chroot(".")
    return "changed"


def change_the_mode_of_a_file(facts: Facts) -> object:
    os.chmod(facts["secret"], 0o600 if os.stat(facts["secret"]).st_mode & 0o077 else 0o640)
    return unseen()


def change_the_mode_by_the_newest_call(facts: Facts) -> object:
    call((452, 452), -100, facts["secret"].encode(), 0o666, 0)
    return unseen()


def change_the_times_of_a_file(facts: Facts) -> object:
    os.utime(facts["secret"], (0, 0))
    return unseen()


def attach_something_to_a_file(facts: Facts) -> object:
    os.setxattr(facts["secret"], "user.tenth", b"x")
    return unseen()


def watch_who_opens_a_file(facts: Facts) -> object:
    if (watcher := call((294, 26), 0)) < 0 or call((254, 27), watcher, facts["secret"].encode(), 0x20) < 0:
        raise FileNotFoundError("it cannot be watched")
    return "watched"


def keep_waiting_who_opens_a_file(_: Facts) -> object:
    with open("held", "w") as file:
        return fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
