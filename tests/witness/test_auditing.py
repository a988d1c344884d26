"""From a run to its witnesses and back: do both verifiers find a log that was cut back, or shown in two versions?"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import verify_run
from independent.build_run import Run, key_of, public_line
from tenth import keyfile
from tenth.cli import verbs
from tenth.encoding import digest, read_plain
from tenth.keys import SigningKey
from tenth.witness.cosigner import Cosigner
from tenth.witness.memory import Memory
from tenth.witness.note import Checkpoint, cosign
from tenth.witness.serving import Server

WITNESSES = "".join(f'\n[[witness]]\nname = "{name}"\nkey = "{public_line(name)}"\n' for name in ("wim", "zoe"))


def story(path: Path, *, tenths: int, note: str = "", extra: str = WITNESSES) -> Path:
    """A run of so many tenths; ``note`` makes another history of it, by the same people and under the same log key."""
    run = Run(path, extra=extra)
    run.start()
    run.reach()
    run.seal()
    run.say("objected", "ben", note=note)
    run.say("consented", "ben")
    run.say("consented", "ada")
    run.say("consented", "cyd")
    run.lease()
    run.meter()
    run.reach()
    run.tenths(tenths)
    return run.save()


@dataclass
class Desk:
    """A person at a shell: what they type, what comes back."""

    folder: Path
    environment: pytest.MonkeyPatch
    capture: Any

    def __call__(self, *words: object) -> tuple[int, str]:
        self.environment.setenv("TENTH_HOME", str(self.folder))
        self.environment.setenv("HOME", str(self.folder))
        code = verbs.main([str(word) for word in words])
        out, err = self.capture.readouterr()
        return code, out + err

    def ok(self, *words: object) -> str:
        code, said = self(*words)
        assert code == 0, said
        return said

    def json(self, *words: object) -> Any:
        return json.loads(self.ok(*words, "--json"))

    @property
    def memory(self) -> Memory:
        return Memory(self.folder / "witness" / digest(SigningKey(key_of(self.folder.name)).public.raw)[:16])

    def state(self) -> Path:
        (path,) = self.memory.folder.glob("*.json")
        return path


Desks = Callable[[str], Desk]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desks:
    """Of wim and zoe, each with the key that the charter lists; and of whoever runs the run."""

    def make(name: str) -> Desk:
        folder = tmp_path / name
        if not folder.exists():
            (folder / "keys").mkdir(parents=True)
            if name != "ada":
                keyfile.save(SigningKey(key_of(name)), folder / "keys" / name)
        return Desk(folder, monkeypatch, capsys)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return story(tmp_path / "runs" / "poet-7f3a9c21", tenths=4)


def told(desk: Desk, runner: Desk, run: Path) -> Desk:
    """A witness that was told of the log."""
    log = runner.json("witness", "ask", run, "--dry-run")["log"]
    desk.ok("witness", "add", log)
    return desk


def by_file(runner: Desk, witness: Desk, run: Path) -> None:
    """Request, cosignature and back, through files."""
    name = witness.folder.name
    post = witness.folder / "post"
    shutil.rmtree(post, ignore_errors=True)
    runner.ok("witness", "ask", run, "--to", post)
    witness.ok("witness", "sign", post / f"{run.name}.{name}.request")
    runner.ok("witness", "take", post / f"{run.name}.{name}.cosigned", "--run", run)


def both(runner: Desk, run: Path, *heads: Path) -> tuple[int, str]:
    """Both verifiers; they must agree."""
    words = [word for head in heads for word in ("--witness", head)]
    code, said = runner("verify", run, *words)
    verdict = verify_run.verify(run, heads)
    assert verdict["ok"] is (code == 0), (said, verdict)
    assert code == 0 or verdict["broken"]["promise"] == 7
    assert verify_run.main([str(run), *map(str, words)]) == code
    runner.capture.readouterr()
    return code, said


def cut(run: Path, entries: int) -> None:
    """Take the newest entries off, and their heads: what is left is a log that is whole."""
    lines = (run / "log" / "entries.jsonl").read_bytes().splitlines(keepends=True)
    heads = (run / "log" / "heads").read_bytes().splitlines(keepends=True)
    (run / "log" / "entries.jsonl").write_bytes(b"".join(lines[:-entries]))
    (run / "log" / "heads").write_bytes(b"".join(heads[: -5 * entries]))


def test_a_run_is_witnessed_through_files(run: Path, desk: Desks) -> None:
    ada, wim, zoe = desk("ada"), desk("wim"), desk("zoe")
    code, said = both(ada, run)
    assert code == 0
    assert "nothing was heard of wim and zoe" in said
    assert ada("verify", run, "--witness")[0] == 1, "asked for, and not to be had"
    for one in (wim, zoe):
        told(one, ada, run)
        by_file(ada, one, run)
    code, said = both(ada, run)
    assert code == 0
    assert "wim cosigned all entries" in said
    assert "zoe cosigned all entries" in said
    found = ada.json("verify", run, "--witness")["witnesses"]
    assert [(row["witness"], row["newer_entries"]) for row in found] == [("wim", 0), ("zoe", 0)]
    assert all(row["seconds_ago"] < 60 and row["notes"] == [] for row in found)
    assert ada.ok("verify", "--witness", run), "an option's value that is a run is the run"
    assert [row["witness"] for row in verify_run.verify(run)["witnesses"]] == ["wim", "zoe"]
    assert both(ada, run, wim.state(), zoe.state())[0] == 0


def test_a_log_that_was_cut_back_is_found_out(run: Path, desk: Desks, tmp_path: Path) -> None:
    """Rollback: the newest entries and heads are gone, and the folder alone looks whole."""
    ada, wim = desk("ada"), told(desk("wim"), desk("ada"), run)
    by_file(ada, wim, run)
    heads = (run / "log" / "heads").read_bytes().splitlines(keepends=True)
    kept = tmp_path / "kept"
    kept.write_bytes(b"".join(heads[-5:]))
    assert both(ada, run, kept)[0] == 0
    shutil.rmtree(run / "checkpoints" / "04")
    cut(run, 1)
    code, said = both(ada, run)
    assert code == 5
    assert "promise 7 is broken: the log was cut back" in said
    (run / "log" / "cosignatures").unlink()
    assert both(ada, run)[0] == 0, "nothing in the folder tells any more"
    for elsewhere in (wim.state(), kept):
        code, said = both(ada, run, elsewhere)
        assert code == 5
        assert "promise 7 is broken: the log was cut back" in said
    assert ada("verify", run, "--witness")[0] == 1
    code, said = ada("witness", "ask", run, "--to", tmp_path / "post")
    assert code == 0
    code, said = wim("witness", "sign", tmp_path / "post" / f"{run.name}.wim.request")
    assert code == 1
    assert "prove it from there" in said


def test_two_logs_of_one_run_that_two_witnesses_were_shown_are_found_out(tmp_path: Path, desk: Desks) -> None:
    """Split view: the same people, the same log key, the same beginning, two histories."""
    ada, wim, zoe = desk("ada"), desk("wim"), desk("zoe")
    one = story(tmp_path / "one" / "poet-7f3a9c21", tenths=3)
    other = story(tmp_path / "other" / "poet-7f3a9c21", tenths=4, note="I was never asked")
    for witness, shown in ((wim, one), (zoe, other)):
        told(witness, ada, shown)
        by_file(ada, witness, shown)
        assert both(ada, shown)[0] == 0, "each by itself is whole, and witnessed"
    for shown, witness in ((one, zoe), (other, wim)):
        code, said = both(ada, shown, witness.state())
        assert code == 5, "held against the other witness's memory it is not"
        assert "promise 7 is broken" in said
    code, said = both(ada, other, wim.state())
    assert "somebody was shown another log" in said
    # Nor can the second log be carried to the first's witness, from any size.
    for since in (0, 5, 12):
        shutil.rmtree(tmp_path / "post", ignore_errors=True)
        assert ada("witness", "ask", other, "--to", tmp_path / "post", "--since", since)[0] == 0
        assert wim("witness", "sign", tmp_path / "post" / f"{other.name}.wim.request")[0] == 1
    # And both cosignatures beside either log are one too many.
    notes = b"".join((shown / "log" / "cosignatures").read_bytes() for shown in (one, other))
    (other / "log" / "cosignatures").write_bytes(notes)
    assert both(ada, other)[0] == 5


# --- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[[Desk], str]]:
    """Answer for a witness over HTTP; returns its address."""
    servers: list[tuple[Server, threading.Thread]] = []

    def start(witness: Desk, clock: Any = None) -> str:
        name = witness.folder.name
        key = SigningKey(key_of(name))
        server = Server(("127.0.0.1", 0), Cosigner(name, key, witness.memory, **({"clock": clock} if clock else {})))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"{name}=http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_run_is_witnessed_over_http(tmp_path: Path, desk: Desks, serve: Callable[[Desk], str]) -> None:
    ada, wim, zoe = desk("ada"), desk("wim"), desk("zoe")
    run = story(tmp_path / "a" / "poet-7f3a9c21", tenths=2)
    address = serve(wim)
    code, said = ada("witness", "ask", run, "--at", address)
    assert code == 1
    assert "tenth witness add 'tenth/poet-7f3a9c21+" in said, "it says what the witness has to be told"
    told(wim, ada, run)
    assert "✓ has cosigned" in ada.ok("witness", "ask", run, "--at", address)
    longer = story(tmp_path / "b" / "poet-7f3a9c21", tenths=4)
    shutil.copy(run / "log" / "cosignatures", longer / "log" / "cosignatures")
    code, said = both(ada, longer)
    assert code == 0
    assert "wim cosigned all but the newest" in said
    assert "✓ has cosigned" in ada.ok("witness", "ask", longer, "--at", address)
    (longer / "log" / "cosignatures").unlink()
    assert "✓ has cosigned" in ada.ok("witness", "ask", longer, "--at", address), "it says from where to prove"
    code, said = ada("witness", "ask", run, "--at", address)
    assert code == 1
    assert "cut back or rewritten" in said
    other = story(tmp_path / "c" / "poet-7f3a9c21", tenths=5, note="another")
    assert ada("witness", "ask", other, "--at", address)[0] == 1
    both_at_once = ada.json("witness", "ask", longer, "--at", address, "--to", tmp_path / "post")
    assert [sorted(row) for row in both_at_once["witnesses"]] == [["entries", "time", "witness"], ["file", "witness"]]
    assert zoe.memory.all() == []


def test_the_verb_serves_until_it_is_asked_to_stop(run: Path, desk: Desks) -> None:
    ada, wim = desk("ada"), told(desk("wim"), desk("ada"), run)
    environment = {"PATH": os.environ["PATH"], "TENTH_HOME": str(wim.folder), "HOME": str(wim.folder)}
    command = [str(Path(sys.executable).with_name("tenth")), "witness", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = json.loads(server.stdout.readline())["said"]
            assert said.startswith("wim witnesses 1 log at http://127.0.0.1:")
            ada.ok("witness", "ask", run, "--at", "wim=" + said.rpartition(" ")[2])
            assert "cosigned tenth/poet-7f3a9c21 at" in server.stdout.readline()
            code, refused = wim("witness", "serve", "--port", said.rpartition(":")[2])
            assert code == 1
            assert "give another --port" in refused
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()
    assert both(ada, run, wim.state())[0] == 0


@pytest.mark.parametrize(("off", "right"), [(0, True), (-250, True), (3600, False), (-3600, False), (1e11, False)])
def test_an_answer_whose_clock_is_far_off_is_not_taken(
    off: float, right: bool, run: Path, desk: Desks, serve: Callable[..., str]
) -> None:
    """A replayed cosignature is old, and one that is made up may be from the future."""
    import time

    ada, wim = desk("ada"), told(desk("wim"), desk("ada"), run)
    code, said = ada("witness", "ask", run, "--at", serve(wim, lambda: time.time() + off))
    assert (code == 0) is right, said
    assert (run / "log" / "cosignatures").exists() is right


def test_a_witness_that_is_another_or_not_there_is_not_believed(
    run: Path, desk: Desks, serve: Callable[[Desk], str], tmp_path: Path
) -> None:
    ada, wim = desk("ada"), told(desk("wim"), desk("ada"), run)
    as_zoe = serve(wim).replace("wim=", "zoe=")
    code, said = ada("witness", "ask", run, "--at", as_zoe)
    assert code == 1
    assert "did not sign" in said
    for wrong in ("wim=http://127.0.0.1:1", "wim=ftp://127.0.0.1", "wim=nonsense", "wim=http://[::1", "wim=http://x:y"):
        assert ada("witness", "ask", run, "--at", wrong)[0] == 1
    for wrong in ("eve=http://127.0.0.1:1", "http://127.0.0.1:1", "wim="):
        code, said = ada("witness", "ask", run, "--at", wrong)
        assert code == 1
        assert "is not an address" in said
    assert ada("witness", "ask", run)[0] == 1
    assert not (run / "log" / "cosignatures").exists()
    alone = story(tmp_path / "alone", tenths=2, extra="")
    code, said = ada("witness", "ask", alone, "--to", tmp_path)
    assert code == 1
    assert "the charter names no witness" in said
    assert ada("verify", alone, "--witness")[0] == 1


# --- what is kept beside the log -------------------------------------------------------------------------------------


@pytest.fixture
def witnessed(run: Path, desk: Desks) -> Path:
    """By both."""
    for name in ("wim", "zoe"):
        by_file(desk("ada"), told(desk(name), desk("ada"), run), run)
    return run


def blocks(data: bytes) -> list[bytes]:
    lines = data.splitlines(keepends=True)
    return [b"".join(lines[at : at + 6]) for at in range(0, len(lines), 6)]


def test_every_changed_line_of_the_cosignatures_is_seen(witnessed: Path, desk: Desks) -> None:
    path = witnessed / "log" / "cosignatures"
    good = path.read_bytes()
    one, two = blocks(good)
    lines = one.splitlines(keepends=True)
    head = Checkpoint.parse(one)
    forged = cosign(head.text, "wim", SigningKey(key_of("zoe")), 1_795_253_400)
    replayed = two.splitlines(keepends=True)[5]
    other_head = Checkpoint.parse(one).text.replace(b"\n%d\n" % head.size, b"\n%d\n" % (head.size - 1))
    flipped = bytearray(good)
    flipped[len(one) - 30] ^= 1
    bad = {
        "flipped": bytes(flipped),
        "swapped": two + one,
        "doubled": one + one + two,
        "forged by another key": b"".join(lines[:5]) + forged + two,
        "forged with the right id": b"".join(lines[:5]) + lines[5].replace(b"A", b"B") + two,
        "another's on another head": other_head + b"\n" + lines[4] + replayed,
        "renamed": one.replace("— wim".encode(), "— zoe".encode()),
        "a stranger's": one.replace("— wim".encode(), "— eve".encode()) + two,
        "of another size": other_head + b"\n" + b"".join(lines[4:]) + two,
        "without the log's signature": b"".join([*lines[:4], lines[5]]) + two,
        "cut": good[:-1],
        "a line too many": good + b"\n",
        "text": b"nothing\n" * 6,
        "not UTF-8": b"\xff\n" * 6,
        "with a third signature": one + lines[5] + two,
    }
    for what, data in bad.items():
        path.write_bytes(data)
        code, said = both(desk("ada"), witnessed)
        assert code == 5, (what, said)
        assert "promise 7 is broken" in said
    for fine in (good, one, two, b""):
        path.write_bytes(fine)
        assert both(desk("ada"), witnessed)[0] == 0
    path.unlink()
    path.mkdir()
    assert desk("ada")("verify", witnessed)[0] == 5
    assert verify_run.verify(witnessed)["ok"] is False


def test_dates_that_cannot_be_are_said_so(witnessed: Path, desk: Desks) -> None:
    """A cosignature from the future, and one older than what it covers: genuine, and odd."""
    path = witnessed / "log" / "cosignatures"
    lines = blocks(path.read_bytes())[0].splitlines(keepends=True)
    text, key = Checkpoint.parse(b"".join(lines)).text, SigningKey(key_of("wim"))
    for when, word in ((253_000_000_000, "yet to come"), (1_000_000_000, "before the last entry")):
        path.write_bytes(b"".join(lines[:5]) + cosign(text, "wim", key, when))
        code, said = both(desk("ada"), witnessed)
        assert code == 0
        assert word in said
        (row,) = desk("ada").json("verify", witnessed)["witnesses"]
        assert word in row["notes"][0]
        assert (row["seconds_ago"] is None) is (when > 2_000_000_000), "how fresh it is cannot be said"


def test_what_is_taken_is_checked_and_never_goes_back(witnessed: Path, desk: Desks, tmp_path: Path) -> None:
    ada, path = desk("ada"), witnessed / "log" / "cosignatures"
    good = path.read_bytes()
    older = tmp_path / "older"
    text = Checkpoint.parse(good[: len(blocks(good)[0])]).text
    lines = blocks(good)[0].splitlines(keepends=True)
    older.write_bytes(b"".join(lines[:5]) + cosign(text, "wim", SigningKey(key_of("wim")), 1_000_000_000))
    assert "a newer one is there" in ada.ok("witness", "take", older, "--run", witnessed)
    wrong = {
        "nobody's": b"".join(lines[:5]),
        "a stranger's": b"".join(lines[:5]) + cosign(text, "eve", SigningKey(key_of("eve")), 1_795_253_400),
        "forged": b"".join(lines[:5]) + lines[5].replace(b"A", b"B"),
        "from the future": b"".join(lines[:5]) + cosign(text, "wim", SigningKey(key_of("wim")), 200_000_000_000),
        "without the log": text + b"\n" + lines[5],
        "nonsense": b"nonsense",
    }
    for what, data in wrong.items():
        (tmp_path / "wrong").write_bytes(data)
        code, said = ada("witness", "take", tmp_path / "wrong", "--run", witnessed)
        assert code == 1, (what, said)
    assert path.read_bytes() == good
    path.unlink()
    (tmp_path / "two").write_bytes(blocks(good)[0] + blocks(good)[1].splitlines(keepends=True)[5])
    taken = ada.json("witness", "take", tmp_path / "two", "--run", witnessed)["taken"]
    assert [row["witness"] for row in taken] == ["wim", "zoe"]
    assert path.read_bytes() == good, "one head with both cosignatures, kept as two"


def test_a_head_that_says_nothing_of_this_run_is_refused(witnessed: Path, desk: Desks, tmp_path: Path) -> None:
    ada = desk("ada")
    stranger = SigningKey(key_of("eve"))
    text = Checkpoint.parse(blocks((witnessed / "log" / "cosignatures").read_bytes())[0]).text
    memory = Memory(tmp_path / "fresh")
    from tenth.witness.note import NamedKey

    memory.add(NamedKey.parse(ada.json("witness", "ask", witnessed, "--dry-run")["log"]))
    for data in (
        b"",
        b"{}",
        b"\xff" * 100,
        text + b"\n" + cosign(text, "eve", stranger, 1_795_253_400),
        text.replace(b"poet-", b"bard-") + b"\n" + cosign(text, "wim", SigningKey(key_of("wim")), 1_795_253_400),
        text + b"\n" + cosign(text, "wim", stranger, 1_795_253_400),
        read_plain(next(memory.folder.glob("*.json"))),
    ):
        (tmp_path / "head").write_bytes(data)
        code, _ = ada("verify", witnessed, "--witness", tmp_path / "head")
        assert code == 1, data
        assert verify_run.main([str(witnessed), "--witness", str(tmp_path / "head")]) == 1
    assert ada("verify", witnessed, "--witness", tmp_path / "not there")[0] == 1


def test_a_pack_brings_its_cosignatures_along(witnessed: Path, desk: Desks, tmp_path: Path) -> None:
    import tarfile

    ada = desk("ada")
    ada.ok("export", witnessed, "-o", tmp_path / "pack.tar.gz")
    with tarfile.open(tmp_path / "pack.tar.gz") as pack:
        pack.extractall(tmp_path / "away", filter="data")
    away = tmp_path / "away" / witnessed.name
    assert both(ada, away, desk("wim").state())[0] == 0
    assert len(ada.json("verify", away, "--witness")["witnesses"]) == 2
    (witnessed / "log" / "cosignatures").write_bytes(b"nonsense")
    assert ada("export", witnessed, "-o", tmp_path / "other.zip")[0] == 5


def test_a_witness_can_be_asked_what_it_knows(witnessed: Path, desk: Desks, tmp_path: Path) -> None:
    wim = desk("wim")
    (row,) = wim.json("witness", "list")["logs"]
    assert (row["log"], row["file"]) == (f"tenth/{witnessed.name}", str(wim.state()))
    assert row["entries"] == len((witnessed / "log" / "entries.jsonl").read_bytes().splitlines())
    assert f"{row['entries']} entries, cosigned 20" in wim.ok("witness", "list")
    assert "knows it already" not in wim.ok("witness", "add", row["key"])
    assert wim("witness", "add", "nonsense")[0] == 1
    keyfile.save(SigningKey(key_of("eve")), wim.folder / "keys" / "eve")
    code, said = wim("witness", "list")
    assert code == 1
    assert "--as NAME" in said
    assert "knows no log yet" in wim.ok("witness", "list", "--as", "eve")
    desk("ada").ok("witness", "ask", witnessed, "--to", tmp_path / "post")
    request = tmp_path / "post" / f"{witnessed.name}.wim.request"
    assert "would cosign" in wim.ok("witness", "sign", request, "--as", "wim", "--dry-run")
    assert wim("witness", "sign", request, "--as", "eve")[0] == 1, "she does not know this log"
    code, said = wim("witness", "sign", request, "--as", "zoe", "--key", wim.folder / "keys" / "wim")
    assert code == 1
    assert "not cosigned by this key" in said, "one key has one memory, whatever it is called"
    wim.ok("witness", "sign", request, "--as", "wim", "-o", tmp_path / "answer")
    assert wim("witness", "sign", request, "--as", "wim", "-o", tmp_path / "answer")[0] == 1, "nothing is overwritten"
    assert "would be kept" in desk("ada").ok("witness", "take", tmp_path / "answer", "--run", witnessed, "--dry-run")


def test_both_verifiers_say_the_same_of_any_damage(witnessed: Path, tmp_path: Path) -> None:
    """Bytes changed, lines moved, dropped and doubled at random: broken for both, or for neither."""
    from tenth.cli.record import witnesses
    from tenth.errors import BrokenPromise
    from tenth.verify import verify

    path, dice = witnessed / "log" / "cosignatures", random.Random(11)
    good, report, broken = path.read_bytes(), verify(witnessed), 0
    for _ in range(120):
        data, lines = bytearray(good), good.splitlines(keepends=True)
        match dice.randrange(4):
            case 0:
                data[dice.randrange(len(data))] = dice.choice(b"\n Aa=+0\xff\xe2")
            case 1:
                data = bytearray(good[: dice.randrange(len(good))])
            case 2:
                dice.shuffle(lines)
                data = bytearray(b"".join(lines))
            case _:
                del lines[(at := dice.randrange(len(lines))) : at + dice.choice((1, 6))]
                data = bytearray(b"".join(lines))
        path.write_bytes(data)
        try:
            witnesses.check(witnessed, report, witnesses.read(witnessed), ())
            holds = True
        except BrokenPromise:
            holds = False
        verdict = verify_run.verify(witnessed)
        assert verdict["ok"] is holds, bytes(data)
        assert holds or verdict["broken"]["promise"] == 7
        broken += not holds
    assert broken > 60
