"""Is the log what its specifications say, is a torn end mended and said so, and is everything else refused?"""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth import keyfile
from tenth.encoding import canonical, decode
from tenth.errors import BadEncoding, BrokenPromise
from tenth.keys import PublicKey, SigningKey
from tenth.log import store
from tenth.log.entry import Entry, timestamp
from tenth.log.head import Head, key_id, origin
from tenth.log.store import ENTRIES, HEADS, LogWriter, read
from tenth.log.tree import Tree, leaf_hash, node_hash

KEY = SigningKey.generate()
RUN = "poet-7f3a9c21"

# --- the tree --------------------------------------------------------------------------------------------------------

# The reference vectors of certificate-transparency's Merkle tree (RFC 6962, section 2.1).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_are_those_of_rfc_6962() -> None:
    tree = Tree()
    for size, wanted in enumerate(ROOTS):
        assert (tree.size, tree.root().hex()) == (size, wanted)
        if size < len(LEAVES):
            tree.append(leaf_hash(bytes.fromhex(LEAVES[size])))


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it reads."""
    if len(leaves) < 2:
        return leaf_hash(leaves[0]) if leaves else sha256().digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_a_root_is_what_the_definition_says(leaves: list[bytes]) -> None:
    tree = Tree()
    for leaf in leaves:
        copy = tree.copy()
        tree.append(leaf_hash(leaf))
        assert copy.size == tree.size - 1
    assert tree.root() == by_definition(leaves)


# --- heads -----------------------------------------------------------------------------------------------------------

NOTE_TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
"""The example that the signed-note format is published with."""


def test_the_published_signed_note_verifies() -> None:
    name, short, encoded = NOTE_KEY.split("+", 2)
    kind, raw = base64.b64decode(encoded)[:1], base64.b64decode(encoded)[1:]
    key, signature = PublicKey(raw), base64.b64decode(NOTE_SIGNATURE)
    assert kind == b"\x01"
    assert key_id(name, key).hex() == short == signature[:4].hex()
    key.verify(signature[4:], NOTE_TEXT)


def test_a_head_is_a_tlog_checkpoint() -> None:
    head = Head.sign(origin(RUN), 8, bytes.fromhex(ROOTS[8]), KEY)
    lines = head.note.decode().split("\n")
    assert lines[:4] == [f"tenth/{RUN}", "8", base64.b64encode(bytes.fromhex(ROOTS[8])).decode(), ""]
    assert lines[4].startswith(f"\u2014 tenth/{RUN} ")
    assert lines[5:] == [""]
    assert Head.parse(head.note) == head
    head.verify(KEY.public)


def test_every_flipped_bit_of_a_head_is_refused() -> None:
    note = Head.sign(origin(RUN), 8, bytes.fromhex(ROOTS[8]), KEY).note
    for at in range(len(note) * 8):
        flipped = bytearray(note)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises((BadEncoding, Exception)) as error:
            Head.parse(bytes(flipped)).verify(KEY.public)
        assert type(error.value).__name__ in ("BadEncoding", "BadStatement")


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_bytes_are_a_head_or_refused(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        Head.parse(data)


@pytest.mark.parametrize("size", ["08", "+8", "-1", "8 ", "", "٨", "1e3", "9" * 16])
def test_a_size_has_one_spelling(size: str) -> None:
    root = base64.b64encode(bytes(32)).decode()
    with pytest.raises(BadEncoding):
        Head.parse(f"o\n{size}\n{root}\n\n\u2014 o {base64.b64encode(bytes(68)).decode()}\n".encode())


# --- entries ---------------------------------------------------------------------------------------------------------


def test_an_entry_reads_as_it_was_written() -> None:
    made = Entry.make(7, "metered", {"x": 1.0, "y": "é"}, 1795253400.1239)
    assert made == Entry.parse(made.line)
    assert made.time == "2026-11-21T09:30:00.123Z"
    assert made.digest == sha256(b"\0" + made.line).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": True},
        {"index": "0"},
        {"event": 1},
        {"body": []},
        {"time": "2026-11-21T09:30:00Z"},
        {"time": "2026-11-21T09:30:00.123Z\n"},
        {"time": None},
        {"more": 1},
    ],
)
def test_what_is_not_quite_an_entry_is_refused(change: dict[str, Any]) -> None:
    value = {"index": 0, "event": "opened", "body": {}, "time": timestamp(0), **change}
    with pytest.raises(BadEncoding):
        Entry.parse(canonical(value))


@given(st.binary(max_size=100))
def test_bytes_are_an_entry_or_refused(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        Entry.parse(data)


# --- the files -------------------------------------------------------------------------------------------------------


def writer(folder: Path) -> LogWriter:
    return LogWriter(folder, RUN, KEY, lambda: 1795253400.0)


def sizes(folder: Path) -> tuple[int, int]:
    return (folder / ENTRIES).stat().st_size, (folder / HEADS).stat().st_size


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A log of four writes, of one to three entries."""
    folder = tmp_path / "log"
    folder.mkdir()
    log = writer(folder)
    log.append(("opened", {"log_key": KEY.public.line}))
    log.append(("sealed", {"gate": 0}), ("sealed", {"gate": 1}), ("sealed", {"gate": 2}))
    log.append(("sealed", {"gate": 3}))
    log.append(("sealed", {"gate": 4}), ("sealed", {"gate": 5}))
    log.close()
    return folder


def test_a_log_at_rest_reads_as_it_was_written(small: Path) -> None:
    log = read(small)
    assert [entry.index for entry in log.entries] == list(range(7))
    assert [head.size for head in log.heads] == [1, 4, 5, 7]
    assert log.notes == ()
    assert log.tree.root() == by_definition([entry.line for entry in log.entries])


def test_a_write_torn_at_any_byte_is_mended_and_said_so(small: Path, tmp_path: Path) -> None:
    """All that a crash can leave of one write: entries, then the head, each up to any byte."""
    before = read(small)
    old_entries, old_heads = (small / ENTRIES).read_bytes(), (small / HEADS).read_bytes()
    log = writer(small)
    log.append(("sealed", {"gate": "é"}), ("sealed", {"gate": 7}))
    log.close()
    entries, heads = (small / ENTRIES).read_bytes(), (small / HEADS).read_bytes()
    torn = [(cut, len(old_heads)) for cut in range(len(old_entries) + 1, len(entries) + 1)]
    torn += [(len(entries), cut) for cut in range(len(old_heads) + 1, len(heads))]
    for entry_cut, head_cut in torn:
        (small / ENTRIES).write_bytes(entries[:entry_cut])
        (small / HEADS).write_bytes(heads[:head_cut])
        seen = read(small)
        assert list(seen.entries) == list(before.entries), "a reader of a live run leaves it out"
        assert seen.notes
        mended = writer(small)
        assert mended.mended == seen.notes
        assert sizes(small) == (len(old_entries), len(old_heads))
        mended.close()
    log = writer(small)
    assert log.mended == ()
    log.append(("sealed", {"gate": 8}))
    log.close()
    assert read(small).entries[-1].body == {"gate": 8}


def test_covered_entries_that_are_cut_off_are_missed(small: Path) -> None:
    entries = (small / ENTRIES).read_bytes()
    for cut in range(len(entries)):
        (small / ENTRIES).write_bytes(entries[:cut])
        with pytest.raises(BrokenPromise) as error:
            read(small)
        assert error.value.promise == 7
        with pytest.raises(BrokenPromise):
            writer(small)
        assert (small / ENTRIES).read_bytes() == entries[:cut], "what is broken is not touched"


@pytest.mark.parametrize("name", [ENTRIES, HEADS])
def test_any_other_changed_byte_is_refused(small: Path, name: str) -> None:
    """Only a lost line feed at the very end is what a crash could have done, too; then it is said so."""
    data, dice = (small / name).read_bytes(), random.Random(7)
    for at in range(len(data)):
        for new in {data[at] ^ 1, data[at] ^ 0x80, ord("\n"), dice.randrange(256)} - {data[at]}:
            (small / name).write_bytes(data[:at] + bytes([new]) + data[at + 1 :])
            try:
                log = read(small)
            except BrokenPromise:
                continue
            assert name == HEADS
            assert at >= len(data) - len(read_last_head(data))
            assert log.notes
            assert len(log.entries) < 7


def read_last_head(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[-5:])


@pytest.mark.parametrize("name", [ENTRIES, HEADS])
def test_lines_dropped_doubled_or_swapped_are_refused(small: Path, name: str) -> None:
    lines, span = (small / name).read_bytes().splitlines(keepends=True), 5 if name == HEADS else 1
    rows = [b"".join(lines[at : at + span]) for at in range(0, len(lines), span)]
    for at in range(len(rows)):
        variants = [[*rows[:at], rows[at], *rows[at:]]]
        if at + 1 < len(rows):
            variants.append([*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]])
        if name == ENTRIES:
            variants.append(rows[:at] + rows[at + 1 :])
        for variant in variants:
            (small / name).write_bytes(b"".join(variant))
            if name == ENTRIES and variant[: len(rows)] == rows:  # the last once more: no head covers it
                assert read(small).notes
                continue
            with pytest.raises(BrokenPromise):
                read(small)


def test_a_log_of_another_key_or_run_is_refused(small: Path) -> None:
    with pytest.raises(BrokenPromise):
        LogWriter(small, RUN, SigningKey.generate())
    log = read(small)
    forged = Head.sign("tenth/other-00000000", 8, bytes(32), KEY)
    (small / HEADS).write_bytes(b"".join(head.note for head in log.heads) + forged.note)
    with pytest.raises(BrokenPromise):
        read(small)


def test_a_head_that_covers_decisions_must_be_signed(small: Path) -> None:
    heads = list(read(small).heads)
    for number in range(len(heads)):
        forged = [*heads]
        forged[number] = Head.sign(origin(RUN), heads[number].size, heads[number].root, SigningKey.generate())
        (small / HEADS).write_bytes(b"".join(head.note for head in forged))
        with pytest.raises(BrokenPromise, match="forged"):
            read(small)


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_any_two_files_are_a_log_or_a_broken_promise(
    tmp_path_factory: pytest.TempPathFactory, one: bytes, two: bytes
) -> None:
    folder = tmp_path_factory.mktemp("log")
    (folder / ENTRIES).write_bytes(one)
    (folder / HEADS).write_bytes(two)
    try:
        assert read(folder).entries == []
    except BrokenPromise:
        pass


def test_files_that_are_not_files_are_refused_at_once(small: Path) -> None:
    (small / HEADS).unlink()
    with pytest.raises(BrokenPromise):
        read(small)
    (small / HEADS).mkdir()
    with pytest.raises(BrokenPromise):
        read(small)


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_failed_write_leaves_the_log_as_it_was(small: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    before = (small / ENTRIES).read_bytes(), (small / HEADS).read_bytes()
    real = getattr(os, call)
    for failing in range(1, 3):
        log, count = writer(small), iter(range(1, 100))

        def flaky(file: int, *data: bytes, count: Any = count, failing: int = failing) -> Any:
            if next(count) == failing:
                if data:
                    real(file, data[0][: len(data[0]) // 2])
                raise OSError(28, "No space left on device")
            return real(file, *data)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, flaky)
            with pytest.raises(OSError, match="No space"):
                log.append(("sealed", {"gate": 9}))
        assert (len(log.entries), log.tree.size) == (7, 7)
        assert ((small / ENTRIES).read_bytes(), (small / HEADS).read_bytes()) == before
        log.close()
    log = writer(small)
    assert log.mended == ()
    log.append(("sealed", {"gate": 9}))
    log.close()
    assert len(read(small).entries) == 8


FULL = """
import resource, sys
from pathlib import Path
from tenth.keys import SigningKey
from tenth.log.store import LogWriter
folder, key = Path(sys.argv[1]), SigningKey.generate()
log = LogWriter(folder, "r-1", key)
log.append(("opened", {"log_key": key.public.line}))
kept, refused = 1, 0
for most in range(300, 3000, 37):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, -1))
    try:
        log.append(("sealed", {"text": "x" * 40}))
        kept += 1
    except OSError:
        refused += 1
print(kept, refused)
"""


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    kept, refused = map(int, said.stdout.split())
    assert min(kept, refused) > 5
    log = read(tmp_path)
    assert (len(log.entries), log.notes) == (kept, ())


CRASH = """
import os, signal, sys
from pathlib import Path
from tenth.keys import SigningKey
from tenth.log import store
from tenth.log.store import LogWriter
folder, key, most = Path(sys.argv[1]), SigningKey.load(Path(sys.argv[2])), int(sys.argv[3])
log, real, left = LogWriter(folder, "r-1", key), os.write, most
def write(file, data):
    global left
    if file > 2:
        if len(data) > left:
            real(file, data[:left])
            os.kill(os.getpid(), signal.SIGKILL)
        left -= len(data)
    return real(file, data)
os.write = write
for number in range(100):
    log.append(("sealed", {"n": len(log.entries)}), ("sealed", {"m": "x"}))
    real(1, b"%d\\n" % len(log.entries))
"""


def test_a_process_killed_after_any_bytes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    keyfile.save(KEY, tmp_path / "key")
    folder, dice = tmp_path / "log", random.Random(1)
    folder.mkdir()
    first = LogWriter(folder, "r-1", KEY)
    first.append(("opened", {"log_key": KEY.public.line}))
    first.close()
    acknowledged = 1
    for _ in range(12):
        command = [sys.executable, "-c", CRASH, str(folder), str(tmp_path / "key"), str(dice.randrange(2000))]
        said = subprocess.run(command, capture_output=True, check=False)
        assert said.returncode == -9, said.stderr
        acknowledged = int((said.stdout.split() or [acknowledged])[-1])
        assert len(read(folder).entries) >= acknowledged
    again = LogWriter(folder, "r-1", KEY)
    assert [entry.index for entry in again.entries] == list(range(len(again.entries)))
    again.close()


def test_a_judge_who_refuses_changes_nothing(small: Path) -> None:
    log, before = writer(small), sizes(small)

    def refuse(entry: Entry) -> None:
        raise ValueError(entry.event)

    with pytest.raises(ValueError, match="sealed"):
        log.append(("sealed", {}), judge=refuse)
    with pytest.raises(BadEncoding):
        log.append(("sealed", {"x": float("nan")}))
    assert sizes(small) == before
    assert log.tree.size == 7
    log.append(("sealed", {}))
    log.close()
    assert len(read(small).entries) == 8
    assert decode(read(small).entries[7].line)["index"] == 7


def test_telemetry_is_bound_by_later_heads(tmp_path: Path) -> None:
    """The one head signature that is not checked covers nothing but telemetry, and a later head covers it again."""
    log = writer(tmp_path)
    log.append(("opened", {"log_key": KEY.public.line}))
    log.append(("metered", {"spent": 1}))
    log.append(("sealed", {}))
    log.close()
    assert {"metered", "sampled"} == store.TELEMETRY
    data = (tmp_path / ENTRIES).read_bytes()
    (tmp_path / ENTRIES).write_bytes(data.replace(b'"spent":1', b'"spent":2'))
    with pytest.raises(BrokenPromise, match="Merkle"):
        read(tmp_path)
