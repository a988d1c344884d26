"""Promise 14: a sealed checkpoint opens only with every signatory's share."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.live import PYTHON, Live
from tenth import cipher
from tenth.encoding import b64, canonical
from tenth.errors import BadStatement, WrongInput
from tenth.gate.sealing import SHARES, finish, folder_digest
from tenth.keys import SigningKey

PROMISE = 14
STATUS = (
    "partly kept: where the charter asks for it ([seal]) nothing opens without all; "
    "while a tenth is trained, weights lie open to root"
)

CONTEXT = {"run": "poet-1", "gate": 3, "checkpoint": "c" * 64, "dossier": "d" * 64}


def people(count: int) -> dict[str, SigningKey]:
    return {f"person{number}": SigningKey.generate() for number in range(count)}


def opened(shares: cipher.Shares, keys: dict[str, SigningKey], log_key: SigningKey) -> bytes:
    passed = {name: cipher.pass_on(shares, name, key, log_key.public) for name, key in keys.items()}
    return cipher.join([cipher.take_in(shares, name, one, log_key) for name, one in passed.items()])


# --- the key and its shares ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_all_shares_make_the_key_and_no_fewer(count: int) -> None:
    key, keys, log_key = os.urandom(32), people(count), SigningKey.generate()
    shares = cipher.share_out(key, CONTEXT, {name: one.public for name, one in keys.items()}, None)
    assert opened(shares, keys, log_key) == key
    for some in itertools.chain.from_iterable(itertools.combinations(keys.items(), size) for size in range(1, count)):
        assert opened(shares, dict(some), log_key) != key
    assert key not in canonical(shares)
    assert b64(key).encode() not in canonical(shares)


def test_a_share_opens_for_its_owner_alone_and_in_its_moment_alone() -> None:
    keys, log_key = people(2), SigningKey.generate()
    shares = dict(cipher.share_out(os.urandom(32), CONTEXT, {n: k.public for n, k in keys.items()}, None))
    with pytest.raises(BadStatement, match="does not open"):
        cipher.pass_on(shares, "person0", keys["person1"], log_key.public)
    for name in CONTEXT:
        moved = shares | {"context": CONTEXT | {name: "another"}}
        with pytest.raises(BadStatement, match="does not open"):
            cipher.pass_on(moved, "person0", keys["person0"], log_key.public)
    passed = cipher.pass_on(shares, "person0", keys["person0"], log_key.public)
    with pytest.raises(BadStatement, match="not the one"):
        cipher.take_in(shares, "person1", passed, log_key)
    with pytest.raises(BadStatement, match="does not open"):
        cipher.take_in(shares, "person0", passed, SigningKey.generate())


def test_the_escrow_key_opens_alone() -> None:
    key, keys, escrow = os.urandom(32), people(3), SigningKey.generate()
    shares = cipher.share_out(key, CONTEXT, {name: one.public for name, one in keys.items()}, escrow.public)
    assert cipher.whole_key(shares, escrow) == key
    with pytest.raises(BadStatement):
        cipher.whole_key(shares, keys["person0"])


# --- the folder ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(
    sizes=st.dictionaries(
        st.text("abc/", min_size=1, max_size=5).filter(lambda name: "//" not in name and name.strip("/") == name),
        st.sampled_from([0, 1, cipher.CHUNK - 1, cipher.CHUNK, cipher.CHUNK + 1, 2 * cipher.CHUNK]),
        min_size=1,
        max_size=3,
    )
)
def test_a_folder_comes_back_byte_for_byte(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]) -> None:
    folder, key = tmp_path_factory.mktemp("folder"), os.urandom(32)
    for name, length in sizes.items():
        path = folder / "plain" / name
        if any(one.is_file() for one in path.parents) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(length))
    finish(cipher.encipher(folder / "plain", folder / "sealed", key))
    finish(cipher.decipher(folder / "sealed", folder / "open", key))
    assert finish(folder_digest(folder / "open")) == finish(folder_digest(folder / "plain"))
    with pytest.raises(WrongInput, match="does not open"):
        finish(cipher.decipher(folder / "sealed", folder / "other", os.urandom(32)))


def test_whoever_changes_the_sealed_folder_is_found_out(tmp_path: Path) -> None:
    key = os.urandom(32)
    (tmp_path / "plain").mkdir()
    for name in ("one", "two"):
        (tmp_path / "plain" / name).write_bytes(os.urandom(2 * cipher.CHUNK + 5))
    finish(cipher.encipher(tmp_path / "plain", tmp_path / "sealed", key))
    whole = (tmp_path / "sealed" / "one").read_bytes()
    block = cipher.CHUNK + cipher.TAG

    def flip(data: bytes) -> bytes:
        return data[:100] + bytes([data[100] ^ 1]) + data[101:]

    changes: dict[str, Callable[[bytes], bytes]] = {
        "a bit": flip,
        "the end is cut off": lambda data: data[:-1],
        "the last block is gone": lambda data: data[: 2 * block],
        "two blocks change places": lambda data: data[block : 2 * block] + data[:block] + data[2 * block :],
        "a block twice": lambda data: data + data[-21:],
        "the other file": lambda _: (tmp_path / "sealed" / "two").read_bytes(),
        "nothing": lambda _: b"",
    }
    for number, change in enumerate(changes.values()):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "sealed", copy)
        (copy / "one").chmod(0o644)
        (copy / "one").write_bytes(change(whole))
        with pytest.raises(WrongInput, match="does not open"):
            finish(cipher.decipher(copy, tmp_path / f"open{number}", key))


# --- a run -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(live: Callable[..., Live]) -> Live:
    return live(seal=True, signatories=("ada", "bo", "cy"), env={"STEPS": 10}, every=10).start()


def lies_open(run: Live) -> list[str]:
    """Files of checkpoints that anyone who may read the run directory can read."""
    folders = [*(run.path / "checkpoints").glob("[0-9][0-9]"), *(run.path / ".open").glob("*")]
    return [str(path) for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_between_gates_nothing_lies_open_and_the_run_goes_on(sealed: Live) -> None:
    sealed.run_to("GATE", gate=3)
    assert lies_open(sealed) == []
    assert (sealed.path / "checkpoints" / "03.sealed").is_dir()
    dossier = sealed.dossier()
    assert dossier["sealed"]["digest"] == finish(folder_digest(sealed.path / dossier["sealed"]["path"]))


def test_a_consent_without_its_share_does_not_count(sealed: Live) -> None:
    status = sealed.run_to("GATE", gate=1)
    for share in (None, 7, "", b64(os.urandom(80)), sealed.share("bo")):
        answer = sealed.submit(sealed.sign("consented", "ada", status), share)
        assert not answer["ok"], share
    assert sealed.status()["consents"] == []
    sealed.consent("ada", "bo")
    assert sealed.until("GATE")["waiting_for"] == ["cy"]
    assert lies_open(sealed) == []
    sealed.consent("cy")
    sealed.until("GATE", gate=2)


def test_shares_outlive_the_supervisor_and_are_gone_once_used(sealed: Live) -> None:
    sealed.run_to("GATE", gate=1)
    sealed.consent("ada", "bo")
    sealed.kill9()
    sealed.start()
    assert lies_open(sealed) == []
    sealed.consent("cy")
    sealed.until("GATE", gate=2)
    assert not (sealed.path / "shares").exists()


def test_a_crash_in_the_middle_of_a_tenth_closes_the_vault_again(live: Callable[..., Live]) -> None:
    run = live(seal=True, env={"STEPS": 100, "PAUSE": 0.05}).start()
    run.run_to("GATE", gate=1)
    run.consent()
    run.until("RUNNING")
    assert lies_open(run)
    run.kill_trainer()
    run.until("HALTED")
    assert lies_open(run) == []
    run.say("reopened", "ada")
    run.until("GATE", gate=1)
    assert lies_open(run) == []
    run.consent()
    run.until("RUNNING")
    run.kill9()
    assert run.start().until("HALTED")
    assert lies_open(run) == []


def test_evidence_is_the_same_when_the_gate_is_sealed_again(live: Callable[..., Live]) -> None:
    run = live(seal=True, evidence=[("size", [PYTHON, "code/panel.py", "write"])], env={"STEPS": 10}).start()
    run.run_to("GATE", gate=1)
    first = run.dossier()["evidence"][0]
    added = {"evidence": {"add": [{"name": "more", "command": ["true"]}]}}
    answer = run.submit(run.sign("adjusted", "ada", run.status(), patch=added))
    assert not answer["ok"]
    assert "sealed" in answer["error"]["found"]
    run.say("adjusted", "ada", patch={"recipe": {"a": 1}})
    run.until("GATE", gate=1)
    again = run.dossier()["evidence"][0]
    assert (again["digest"], again["device_seconds"]) == (first["digest"], 0)
    assert run.dossier()["sealed"] is not None
    run.run_to("GATE", gate=2)


def test_a_pulled_run_thaws_with_its_checkpoint_sealed(live: Callable[..., Live]) -> None:
    run = live(seal=True, env={"STEPS": 200, "PAUSE": 0.02}).start()
    run.run_to("GATE", gate=1)
    run.consent()
    run.until("RUNNING")
    run.pull()
    run.say("reopened", "ada")
    run.until("GATE", gate=1)
    assert lies_open(run) == []
    run.consent()
    run.until("GATE", gate=2)
    assert "thaw" in [e["body"]["lease"]["resume"] for e in run.entries() if e["event"] == "leased"]


def test_what_is_released_lies_open(sealed: Live) -> None:
    sealed.finish()
    assert sealed.entries()[-1]["body"]["outcome"] == "released"
    last = sealed.last("reached")["checkpoint"]
    assert finish(folder_digest(sealed.path / last["path"])) == last["digest"]
    assert {Path(path).parent.name for path in lies_open(sealed)} == {Path(last["path"]).name}


@pytest.mark.parametrize("what", ["a byte", "a file more", "shares of another gate", "no shares"])
def test_a_changed_vault_starts_nothing(sealed: Live, what: str) -> None:
    sealed.tampered = True
    sealed.run_to("GATE", gate=2)
    folder, shares = sealed.path / "checkpoints" / "02.sealed", sealed.path / ("checkpoints/02" + SHARES)
    folder.chmod(0o755)
    if what in ("a byte", "a file more"):
        file = next(path for path in folder.rglob("*") if path.is_file())
        file.chmod(0o644)
        sealed.consent("ada", "bo")
        passed = sealed.share("cy")
        if what == "a byte":
            *others, last = file.read_bytes()
            file.write_bytes(bytes([*others, last ^ 1]))
        else:
            (folder / "more").write_bytes(b"")
    else:
        sealed.consent("ada", "bo")
        passed = sealed.share("cy")
        shares.unlink()
        if what != "no shares":
            shutil.copy(sealed.path / ("checkpoints/01" + SHARES), shares)
    answer = sealed.submit(sealed.sign("consented", "cy", sealed.status()), passed)
    if answer["ok"]:
        sealed.until("HALTED")
        assert sealed.last("tripped")["reason"] == "checkpoint"
    assert sealed.events().count("leased") == 2
    assert lies_open(sealed) == []
    assert sealed.alive


def test_both_verifiers_know_when_it_was_not_sealed(sealed: Live) -> None:
    """A run that lays an open checkpoint on the table is none that its charter asked for."""
    sealed.tampered = True
    sealed.run_to("GATE", gate=1)
    sealed.stop()
    shutil.rmtree(sealed.path / "checkpoints" / "01.sealed")
    second = Path(__file__).resolve().parents[2] / "tools" / "verify_run.py"
    for command in ([PYTHON, "-m", "tenth.cli", "verify"], [sys.executable, str(second)]):
        done = subprocess.run([*command, str(sealed.path)], capture_output=True, text=True, check=False)
        assert done.returncode == 5, done.stdout + done.stderr


def test_the_charter_names_no_person_as_its_escrow(live: Callable[..., Live]) -> None:
    from tenth import charter as charters
    from tenth.errors import BadCharter

    run = live(seal=True, escrow="vera").begin()
    source = run.charter()
    assert charters.parse(source.encode()).seal.escrow == run.keys["vera"].public
    with pytest.raises(BadCharter, match="same key"):
        charters.parse(source.replace(run.keys["vera"].public.line, run.keys["ada"].public.line).encode())


def shares_of(run: Live, gate: int) -> dict[str, Any]:
    return dict(json.loads((run.path / f"checkpoints/{gate:02d}{SHARES}").read_bytes()))


def test_shares_are_bound_to_their_moment(sealed: Live) -> None:
    sealed.run_to("GATE", gate=2)
    context = shares_of(sealed, 2)["context"]
    status = sealed.status()
    wanted = {"run": sealed.name, "gate": 2, "checkpoint": sealed.last("reached")["checkpoint"]["digest"]}
    assert context == wanted | {"dossier": status["dossier"]}
    assert shares_of(sealed, 1)["context"] != context
