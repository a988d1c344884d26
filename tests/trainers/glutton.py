"""A trainer that takes more than its share. Environment: HOW, one of the functions below."""

import os
import sys
import time

import door


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def spin() -> None:
    """Computes, and says nothing more."""
    burn(1e9)


def fork() -> None:
    """Computes in children that live for a moment each, and are dead when somebody looks."""
    while True:
        children = [os.fork() for _ in range(2)]
        if 0 in children:
            burn(0.03)
            os._exit(0)
        for child in children:
            os.waitpid(child, 0)


def lie() -> None:
    """Computes, and claims to have computed nothing."""
    step = 0
    while True:
        burn(0.01)
        step += 1
        door.progress(step, flop=0, tokens=0)


def claim() -> None:
    """Claims more FLOP than its lease has."""
    burn(0.01)
    door.progress(1, flop=1e12)
    burn(1e9)


def boast() -> None:
    """Claims more FLOP than any device computes."""
    burn(0.01)
    door.progress(1, flop=9e35)
    burn(1e9)


def crash() -> None:
    burn(0.2)
    sys.exit(3)


def linger() -> None:
    """Says that it is done, and computes on."""
    door.checkpoint(lease, state="x")
    door.say(frame="saved", path="checkpoint")
    door.say(frame="done", position={})
    burn(1e9)


def sleep() -> None:
    """Neither computes nor speaks."""
    time.sleep(1e6)


def mute() -> None:
    raise AssertionError("does not even say hello")


if os.environ["HOW"] == "mute":
    time.sleep(1e6)
lease = door.hello()
{one.__name__: one for one in (spin, fork, lie, claim, boast, crash, linger, sleep, mute)}[os.environ["HOW"]]()
