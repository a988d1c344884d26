"""The second verifier: valid runs pass, every forgery is refused for a sensible reason, numbers are ECMAScript's."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import rfc8785

import verify_run
from independent.build_run import STORIES, build, build_long, encode, write_log
from independent.tamperings import NOTED, PROMISES, REBUILT, TAMPERINGS

TOOL = Path(verify_run.__file__)


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("full") / "run")


@pytest.fixture
def run_copy(full_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(full_run, tmp_path / "run"))


@pytest.mark.parametrize("story", STORIES)
def test_a_valid_run_verifies(story: str, tmp_path: Path) -> None:
    verdict = verify_run.verify(build(tmp_path / "run", story=story))
    assert verdict["broken"] is None
    assert verdict["ok"]
    assert verdict["notes"] == []
    assert verdict["entries"] == verdict["heads"] > 0


@pytest.mark.parametrize(
    "options",
    [
        {"signatories": ("ada",), "watchers": ()},
        {"signatories": ("ada", "ben", "cyd", "dov", "eve"), "watchers": ("ada", "lin")},  # a signatory may watch
        {"parts": 12},
        {"phases": (("pretrain", 3, "recipe.toml"), ("sft", 2, "recipe.toml"), ("dpo", 1, "dpo.toml"))},
        {"evidence": (), "flop": "2.0e18"},  # beyond 2^53: a double, printed without an exponent
        {"run": "vers-00000001"},
    ],
    ids=str,
)
def test_other_charters_verify(options: dict[str, object], tmp_path: Path) -> None:
    verdict = verify_run.verify(build(tmp_path / "run", story="plain", **options))
    assert verdict["broken"] is None


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_forgery_is_refused(name: str, full_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if name not in REBUILT:
        shutil.copytree(full_run, run)
    TAMPERINGS[name](run)
    broken = verify_run.verify(run)["broken"]
    assert broken is not None
    assert broken["promise"] in PROMISES[name], broken
    assert not broken["what"].startswith("expected what docs/formats.md says"), broken  # a reason of its own


@pytest.mark.parametrize("name", NOTED)
def test_the_leftovers_of_a_crash_are_noted(name: str, run_copy: Path) -> None:
    NOTED[name](run_copy)
    verdict = verify_run.verify(run_copy)
    assert verdict["broken"] is None
    assert verdict["notes"]


def test_every_forgery_has_a_plan_of_its_own() -> None:
    assert set(PROMISES) == set(TAMPERINGS)
    assert set(TAMPERINGS) > REBUILT
    assert len(TAMPERINGS) > 190


def test_any_flipped_byte_of_the_log_is_refused(tmp_path: Path) -> None:
    run = build(tmp_path / "run", story="abandoned")
    for name in ("log/entries.jsonl", "log/heads"):
        data = (run / name).read_bytes()
        for at in range(0, len(data) - 1, 11):
            (run / name).write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
            assert not verify_run.verify(run)["ok"], (name, at)
        (run / name).write_bytes(data)
    assert verify_run.verify(run)["ok"]


def test_several_entries_may_share_a_head(tmp_path: Path) -> None:
    run = build(tmp_path / "run")
    lines = (run / "log/heads").read_bytes().splitlines(keepends=True)
    heads = [b"".join(lines[i : i + 5]) for i in range(0, len(lines), 5)]
    (run / "log/heads").write_bytes(b"".join(heads[2::3] if len(heads) % 3 == 0 else [*heads[2::3], heads[-1]]))
    verdict = verify_run.verify(run)
    assert verdict["broken"] is None
    assert verdict["entries"] == len(heads) > verdict["heads"]


def test_a_forged_head_over_quiet_entries_is_bound_by_the_next_root(tmp_path: Path) -> None:
    run = build_long(tmp_path / "run", 50)
    assert verify_run.verify(run)["ok"]
    entries = (run / "log/entries.jsonl").read_bytes()
    (run / "log/entries.jsonl").write_bytes(entries.replace(b'"flop":200', b'"flop":201', 1))
    assert verify_run.verify(run)["broken"]["promise"] == 7


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True)


def test_the_command_says_so_in_one_line_and_in_its_status(run_copy: Path) -> None:
    good = run_tool(run_copy)
    assert (good.returncode, good.stderr) == (0, "")
    count = len((run_copy / "log/entries.jsonl").read_bytes().splitlines())
    assert good.stdout == f"verified: poet-7f3a9c21, {count} entries, {count} heads, CLOSED at gate 20\n"
    TAMPERINGS["flip in checkpoints/01/model.safetensors"](run_copy)
    bad = run_tool(run_copy)
    assert bad.returncode == 5
    assert bad.stdout.count("\n") == 1
    assert "promise 9: digest of checkpoints/01: expected " in bad.stdout
    verdict = json.loads(run_tool(run_copy, "--json").stdout)
    assert list(verdict) == ["ok", "run", "entries", "heads", "stance", "gate", "broken", "witnesses", "notes"]
    assert verdict["broken"]["promise"] == 9


@pytest.mark.parametrize("arguments", [(), ("nowhere",), (".", "--consent"), (__file__,)])
def test_wrong_usage_and_the_unreadable_are_1(arguments: tuple[str, ...]) -> None:
    assert run_tool(*arguments).returncode == 1


def test_what_a_run_says_cannot_attack_its_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise 10: an event named by an attacker reaches the terminal without its escape sequence."""
    run = build(tmp_path / "run", story="opened")
    line = (run / "log/entries.jsonl").read_bytes().rstrip(b"\n")
    time = "2026-11-21T09:00:00.000Z"
    write_log(run, [line, encode({"body": {}, "event": "\x1b]0;owned\x07\n\u202e", "index": 1, "time": time})])
    assert verify_run.main([str(run)]) == 5
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.rstrip("\n").isprintable()


NUMBERS = {
    "0": 0.0, "-0": "0", "1": 1.0, "-1.5": -1.5, "1e21": "1e+21", "999999999999999900000": 999999999999999900000.0,
    "1e+21": 1e21, "1.5e+300": 1.5e300, "0.000001": 1e-6, "1e-7": 1e-7, "1.23e-7": 1.23e-7, "0.00001": 1e-5,
    "0.000123": 1.23e-4, "100000000000000000000": 1e20, "5e-324": 5e-324, "1.7976931348623157e+308": sys.float_info.max,
    "333333333.3333333": 333333333.33333329, "9007199254740992": 2.0**53, "295147905179352830000": 2.0**68,
    "0.1": 0.1, "123456789012345.6": 123456789012345.6, "12345678901234567000": 12345678901234567000.0,
}  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_spelt_as_ecmascript_spells_them(text: str) -> None:
    value = NUMBERS[text]
    if isinstance(value, str):  # not canonical: what it should have been
        assert verify_run.number_text(float(text)) == value
        with pytest.raises(verify_run.Broken):
            verify_run.read_json(text.encode(), "number")
    else:
        assert verify_run.number_text(value) == text
        assert verify_run.read_json(text.encode(), "number") == value


def test_numbers_agree_with_an_independent_implementation() -> None:
    """Random doubles of all magnitudes, against the rfc8785 package."""
    dice = random.Random(8785)
    for _ in range(20_000):
        value = struct.unpack(">d", dice.randbytes(8))[0]
        if value - value == 0:
            assert verify_run.number_text(value).encode() == rfc8785.dumps(value)
    for exponent in range(-30, 30):
        for mantissa in (1.0, 1.1, 9.999999999999999, 1.2345678):
            value = float(f"{mantissa}e{exponent}")
            assert verify_run.number_text(value).encode() == rfc8785.dumps(value)


def test_keys_are_sorted_by_utf_16_code_unit() -> None:
    """RFC 8785 §3.2.3: U+1F600 is a surrogate pair and sorts before U+FB33, though its code point is larger."""
    value = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4, "1": 5, "\u0080": 6, "\u00f6": 7}
    text = rfc8785.dumps(value)
    assert verify_run.canonical_text(value).encode() == text
    assert verify_run.read_json(text, "object") == value
    by_code_point = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    with pytest.raises(verify_run.Broken):
        verify_run.read_json(by_code_point, "object")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":1}\n', "", "nul", '"\x7f\x00"', "1" * 5000, '{"a":1,}'])
def test_bytes_that_are_not_canonical_json_are_refused(text: str) -> None:
    with pytest.raises(verify_run.Broken):
        verify_run.read_json(text.encode(), "bytes")
