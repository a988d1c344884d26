"""A trainer that says and leaves impossible things.

Environment: LINE (raw text to send after hello), TIMES (how often), LEAVE (see below), SAVED (path to claim).
"""

import os
import socket
import time
from pathlib import Path

import door

lease = door.hello()
work = Path(lease["work"])
if line := os.environ.get("LINE"):
    text = line.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1")
    door.channel.sendall(text * int(os.environ.get("TIMES", "1")))
    if "LEAVE" not in os.environ:
        time.sleep(1e6)

folder = work / "checkpoint"
match os.environ["LEAVE"]:
    case "symlink":
        door.checkpoint(lease, state="x")
        (folder / "link").symlink_to("/etc/passwd")
    case "hard link":
        door.checkpoint(lease, state="x")
        (work / "other").write_text("x")
        (folder / "link").hardlink_to(work / "other")
    case "fifo":
        door.checkpoint(lease, state="x")
        os.mkfifo(folder / "pipe")
    case "socket":
        door.checkpoint(lease, state="x")
        os.chdir(folder)
        socket.socket(socket.AF_UNIX).bind("sock")
    case "linked folder":
        (work / "real").mkdir()
        (work / "real" / "state").write_text("x")
        folder.symlink_to(work / "real")
    case "file":
        folder.write_text("x")
    case "nothing":
        pass
    case "empty":
        folder.mkdir()
    case "bad name":
        door.checkpoint(lease, state="x")
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    case "deep":
        folder.mkdir()
        os.chdir(folder)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        Path("state").write_text("x")
    case "odd modes":
        door.checkpoint(lease, state="x")
        (folder / "sub").mkdir(mode=0o000)
        (folder / "state").chmod(0o000)
door.say(frame="saved", path=os.environ.get("SAVED", "checkpoint"))
door.say(frame="done", position={})
