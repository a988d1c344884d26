"""Promise 10: what the model wrote cannot attack its reader: no terminal escape, no markup, no link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.live import Live
from tenth.sanitise import plain

PROMISE = 10
STATUS = "kept"

HOSTILE = {
    "colour": "\x1b[31mred",
    "clear the screen": "\x1b[2J\x1b[H",
    "set the title": "\x1b]0;root@host\x07",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "answer back": "\x1b[6n\x1b[c\x05",
    "8-bit escape": "\x9b31m\x9d0;x\x9c",
    "device control": "\x1bP+q544e\x1b\\",
    "overwrite": "harmless\rrm -rf /",
    "backspaces": "harmless\b\b\b\b\b\b\b\bdanger",
    "bell": "\x07" * 50,
    "null": "a\x00b",
    "bidi": "\u202etxt.exe\u202c \u2066hidden\u2069",
    "zero width": "pass\u200bword\u2060\ufeff",
    "tags": "a\U000e0041\U000e0042",
    "line separators": "a\u2028b\u2029c\x85d\x0bd\x0ce",
    "piled up": "e" + "\u0301" * 500,
    "blank": "\u3164\u2800\u115f",
    "surrogate": "\ud800",
    "markup": "[bold red]x[/] [link=https://evil.example]y[/link] <script>alert(1)</script> &lt;",
    "long": "A" * 16_000,
    "delete": "\x7f",
}


def harmful(shown: str, kept: str = "\n") -> list[str]:
    """Characters that a terminal obeys, or that hide or turn around others."""
    return [
        repr(char)
        for char in shown
        if char not in kept and (unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_comes_out_inert(name: str) -> None:
    shown = plain(HOSTILE[name])
    assert harmful(shown, kept="") == []
    assert len(shown) <= 4_000
    shown.encode()


@given(st.text(st.characters(exclude_categories=()), max_size=200), st.booleans())
def test_any_text_comes_out_inert(text: str, lines: bool) -> None:
    shown = plain(text, lines=lines)
    assert harmful(shown, kept="\n\t" if lines else "") == []
    assert plain(shown, lines=lines).replace("\\", "") == shown.replace("\\", ""), "and there is nothing left to do"
    shown.encode()


def tenth(run: Live, *words: str) -> str:
    """What a person sees who types this."""
    program = Path(sys.executable).with_name("tenth")
    if not program.exists():
        pytest.skip("the command line is not installed")
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "HOME": str(run.folder)}
    said = subprocess.run([program, *words], capture_output=True, cwd=run.folder, env=env, timeout=60)
    return said.stdout.decode() + said.stderr.decode()


def test_what_a_hostile_trainer_says_is_shown_as_text(live: Callable[..., Live]) -> None:
    """From the model's mouth to the reviewer's eye, through the real supervisor and the real command line."""
    texts = [text for name, text in HOSTILE.items() if name != "surrogate"]
    run = live(trainer="mouth.py", env={"TEXTS": json.dumps(texts)}).start()
    run.run_to("GATE", gate=1)
    shard = (run.path / run.last("sampled")["path"]).read_text()
    assert [json.loads(line)["text"] for line in shard.split("\n")[:-1]] == texts, "on record it stands as it was said"
    shown = {verb: tenth(run, verb, str(run.path)) for verb in ("status", "review", "verify")}
    assert "live" in shown["status"]
    assert "https://evil.example" not in shown["status"]
    for verb, text in shown.items():
        assert harmful(text) == [], verb
    assert "\\x1b" in shown["review"], "what was wrong with it is spelled out"


def test_what_people_wrote_is_shown_as_text_too(live: Callable[..., Live]) -> None:
    run = live().start()
    run.until("GATE", gate=0)
    run.say("objected", "ada", note="\x1b[2J \u202e no")
    run.pull("\x1b[31mlin")
    for verb in ("status", "review", "verify"):
        assert harmful(tenth(run, verb, str(run.path))) == [], verb
