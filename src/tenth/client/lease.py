"""The lease: what the supervisor lets this process do, as it stands in the one frame that comes down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ProtocolError
from .frames import Frame


@dataclass(frozen=True)
class Lease:
    """One tenth of one epoch of one phase. Limits are what this process may still spend."""

    run: str
    gate: int
    phase: str
    epoch: int  # from 1
    epochs: int  # of the phase
    tenth: int  # from 1
    of: int
    resume: Path | None  # folder of the checkpoint to go on from
    position: dict[str, Any] | None  # what the last checkpoint said; null at the start of an epoch
    work: Path  # the only folder that may be written
    recipe: Path
    data: Path  # the data listing
    root: Path  # paths in the listing are relative to this folder
    samples_per_minute: float
    prompts: tuple[str, ...]
    device_seconds: float
    flop: float
    seed: int

    def last_step(self, total: int) -> int:
        """The step of the epoch, of `total`, at which this tenth ends (exclusive): ceil(total * tenth / of)."""
        return -(-total * self.tenth // self.of)


def from_frame(frame: Frame) -> Lease:
    """Read a lease frame. Keys that are not known are left alone, so that a newer supervisor can say more."""
    if frame.get("frame") != "lease":
        raise _refused(f"a frame {frame.get('frame')!r} where the lease should be")
    lease = Lease(
        run=_text(frame, "run"), gate=_count(frame, "gate"), phase=_text(frame, "phase"),
        epoch=_count(frame, "epoch", 1), epochs=_count({"epochs": 1, **frame}, "epochs", 1),
        tenth=_count(frame, "tenth", 1), of=_count(frame, "of", 1),
        resume=None if frame.get("resume") is None else _path(frame, "resume"),
        position=_position(frame), work=_path(frame, "work"), recipe=_path(frame, "recipe"),
        data=_path(frame, "data"), root=_path(frame, "root"),
        samples_per_minute=_number(frame, "samples_per_minute"), prompts=_texts(frame, "prompts"),
        device_seconds=_number(frame, "device_seconds"), flop=_number(frame, "flop"), seed=_count(frame, "seed"),
    )  # fmt: skip
    if lease.tenth > lease.of:
        raise _refused(f"tenth {lease.tenth} of {lease.of}")
    return lease


def _refused(found: str) -> ProtocolError:
    return ProtocolError("The lease was refused.", found, "check that trainer and supervisor run the same tenth")


def _text(frame: Frame, key: str) -> str:
    value = frame.get(key)
    if not isinstance(value, str):
        raise _refused(f"`{key}` is {value!r}, not text")
    return value


def _path(frame: Frame, key: str) -> Path:
    path = Path(_text(frame, key))
    if not path.is_absolute():
        raise _refused(f"`{key}` is {str(path)!r}, not an absolute path")
    return path


def _texts(frame: Frame, key: str) -> tuple[str, ...]:
    value = frame.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _refused(f"`{key}` is {value!r}, not a list of texts")
    return tuple(value)


def _count(frame: Frame, key: str, least: int = 0) -> int:
    value = frame.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _refused(f"`{key}` is {value!r}, not a whole number from {least}")
    return value


def _number(frame: Frame, key: str) -> float:
    value = frame.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise _refused(f"`{key}` is {value!r}, not a number from 0")
    return float(value)


def _position(frame: Frame) -> dict[str, Any] | None:
    value = frame.get("position")
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("step", 0), int):
        raise _refused(f"`position` is {value!r}, not an object with a whole `step`")
    return value
