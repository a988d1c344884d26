"""Does a witness cosign what goes on from what it knows, never two histories, and not after a crash either?"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenth import keyfile
from tenth.errors import BadKey, WrongInput
from tenth.keys import SigningKey
from tenth.witness.consistency import is_consistent
from tenth.witness.cosigner import Cosigned, Cosigner, NotCosigned
from tenth.witness.memory import Known, Memory
from tenth.witness.note import WITNESS, Checkpoint, NamedKey
from tenth.witness.request import Request
from witness.logs import KEY, NOW, RUN, WIM, History, witness

TRUE, FORK = History(40), History(40, at=10)
NAMED = NamedKey("wim", WITNESS, WIM.public)


def refused(cosigner: Cosigner, request: Request) -> NotCosigned:
    with pytest.raises(NotCosigned) as error:
        cosigner.cosign(request)
    return error.value


def remembered(cosigner: Cosigner) -> int:
    known = cosigner.memory.recall(TRUE.named.name)
    return known.checkpoint.size if known and known.checkpoint else 0


def test_a_log_is_followed_from_head_to_head(tmp_path: Path) -> None:
    cosigner, old = witness(tmp_path, TRUE), 0
    for size in (1, 2, 3, 3, 8, 9, 33, 40):
        found = cosigner.cosign(TRUE.request(old, size))
        head = Checkpoint.parse(found.note)
        assert (head.size, head.cosigned_at(NAMED), head.signed_by(TRUE.named)) == (size, NOW, True)
        assert found.note.endswith(found.line)
        assert remembered(cosigner) == size
        old = size


def test_each_refusal_has_the_number_of_the_specification(tmp_path: Path) -> None:
    cosigner = witness(tmp_path, TRUE)
    assert refused(cosigner, History(5, run="other-00000000").request(0, 5)).status == 404
    assert refused(cosigner, History(5, key=SigningKey.generate()).request(0, 5)).status == 403
    first = refused(cosigner, TRUE.request(3, 5))
    assert (first.status, first.size) == (409, 0), "zero if it never cosigned a head"
    cosigner.cosign(TRUE.request(0, 12))
    assert refused(cosigner, Request(13, (), TRUE.request(0, 12).checkpoint, b"")).status == 400
    behind = refused(cosigner, TRUE.request(0, 20))
    assert (behind.status, behind.size) == (409, 12)
    back = refused(cosigner, TRUE.request(5, 11))
    assert (back.status, back.size) == (409, 12)
    split = refused(cosigner, FORK.request(12, 12))
    assert (split.status, split.size) == (409, 12)
    assert refused(cosigner, FORK.request(12, 20)).status == 422
    assert remembered(cosigner) == 12
    cosigner.cosign(TRUE.request(12, 20))


def test_a_proof_for_another_head_or_from_another_size_is_refused(tmp_path: Path) -> None:
    cosigner = witness(tmp_path, TRUE)
    cosigner.cosign(TRUE.request(0, 12))
    good, other = TRUE.request(12, 20), TRUE.request(11, 20)
    for proof in (other.proof, (), good.proof[:-1], (*good.proof, bytes(32)), good.proof[::-1]):
        assert refused(cosigner, Request(12, proof, good.checkpoint, good.note)).status == 422
    fresh = witness(tmp_path / "fresh", TRUE)
    assert refused(fresh, Request(0, good.proof, good.checkpoint, good.note)).status == 422, "from nothing, no proof"


def test_of_an_empty_log_there_is_one_head(tmp_path: Path) -> None:
    from tenth.log.head import Head

    cosigner, log = witness(tmp_path, TRUE), TRUE.named
    wrong = Head.sign(log.name, 0, bytes(32), KEY)
    assert refused(cosigner, Request(0, (), Checkpoint.parse(wrong.note), wrong.note)).status == 409
    assert cosigner.cosign(TRUE.request(0, 0))
    assert cosigner.cosign(TRUE.request(0, 3))


def test_every_history_is_one_history(tmp_path: Path) -> None:
    """At random between two logs that part at entry 10: whatever was cosigned, each goes on from the one before."""
    for seed in range(3):
        dice, cosigner = random.Random(seed), witness(tmp_path / str(seed), TRUE)
        known: tuple[int, bytes, History] = (0, Checkpoint.parse(TRUE.head(0).note).root, TRUE)
        for _ in range(60):
            log, size = dice.choice((TRUE, FORK)), dice.randrange(1, 41)
            old = dice.choice((known[0], dice.randrange(0, size + 1)))
            try:
                head = Checkpoint.parse(cosigner.cosign(log.request(min(old, size), size)).note)
            except NotCosigned:
                continue
            assert is_consistent(known[0], known[1], head.size, head.root, log.request(known[0], head.size).proof)
            assert head.size >= known[0]
            known = (head.size, head.root, log)
        assert known[0] > 10


def test_a_head_that_is_asked_about_again_is_cosigned_again_with_the_time_of_the_clock(tmp_path: Path) -> None:
    times: Iterator[float] = iter([NOW, NOW + 60.9, NOW - 5000, NOW + 61])
    cosigner = witness(tmp_path, TRUE, clock=lambda: next(times))
    found = [Checkpoint.parse(cosigner.cosign(TRUE.request(old, 7)).note).cosigned_at(NAMED) for old in (0, 7, 7, 7)]
    assert found == [NOW, NOW + 60, NOW - 5000, NOW + 61]


def test_what_others_signed_is_not_passed_on(tmp_path: Path) -> None:
    note = TRUE.head(7).note + cosign_by_stranger(TRUE.head(7).text)
    found = witness(tmp_path, TRUE).cosign(Request(0, (), Checkpoint.parse(note), note))
    assert [name for name, _ in Checkpoint.parse(found.note).signatures] == [TRUE.named.name, "wim"]


def cosign_by_stranger(text: bytes) -> bytes:
    from tenth.witness.note import cosign

    return cosign(text, "eve", SigningKey.generate(), NOW)


# --- what is remembered ----------------------------------------------------------------------------------------------


def test_two_keys_for_one_log_are_refused(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.add(TRUE.named)
    assert not memory.add(TRUE.named)
    with pytest.raises(BadKey, match="two keys"):
        memory.add(History(1, key=SigningKey.generate()).named)
    with pytest.raises(BadKey, match="not the key of a log"):
        memory.add(NAMED)
    assert [known.log for known in memory.all()] == [TRUE.named]


def test_each_log_has_its_own_file(tmp_path: Path) -> None:
    names = [RUN, "../../etc/passwd", "a/b", "a%2Fb", ".", "..", "\u00e9", "x" * 150]
    logs = [History(3, run=name) for name in names]
    cosigner = witness(tmp_path / "w", *logs)
    for log in logs:
        cosigner.cosign(log.request(0, 3))
    files = [path.name for path in (tmp_path / "w").iterdir() if path.suffix == ".json"]
    assert len(files) == len(names)
    assert {path.name for path in tmp_path.iterdir()} == {"w"}
    with pytest.raises(WrongInput, match="too long"):
        cosigner.memory.add(History(1, run="x" * 400).named)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "unsigned", "folder"])
def test_from_a_damaged_memory_nothing_is_cosigned(tmp_path: Path, damage: str) -> None:
    cosigner = witness(tmp_path, TRUE)
    cosigner.cosign(TRUE.request(0, 12))
    path = cosigner.memory.path(TRUE.named.name)
    data = path.read_bytes()
    other = witness(tmp_path / "other", TRUE, key=SigningKey.generate())
    if damage == "other":
        data = History(1, run="other-00000000").named.line.encode().join([b'{"head":null,"log":"', b'","version":1}'])
    if damage == "unsigned":
        other.cosign(TRUE.request(0, 5))
        data = other.memory.path(TRUE.named.name).read_bytes()
    if damage == "flip":
        at = data.index(b'"head":"tenth/') + 40
        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": data[:-20], "empty": b""}.get(damage, data))
    for request in (TRUE.request(12, 20), FORK.request(0, 20), TRUE.request(0, 20), TRUE.request(5, 20)):
        with pytest.raises((WrongInput, NotCosigned)) as error:
            cosigner.cosign(request)
        assert getattr(error.value, "status", 500) == 500


def test_it_is_durable_before_the_cosignature_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot keep it: no cosignature, and the memory is as it was."""
    cosigner = witness(tmp_path, TRUE)
    cosigner.cosign(TRUE.request(0, 12))
    before = cosigner.memory.path(TRUE.named.name).read_bytes()
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, _no_space)
            with pytest.raises(OSError, match="No space"):
                cosigner.cosign(TRUE.request(12, 20))
        assert cosigner.memory.path(TRUE.named.name).read_bytes() == before
    cosigner.cosign(TRUE.request(12, 20))


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


CRASH = """
import os, signal, sys
from pathlib import Path
from tenth.keys import SigningKey
from tenth.witness.cosigner import Cosigner
from tenth.witness.memory import Memory
from tenth.witness.request import Request
folder, key, body, call, at = Path(sys.argv[1]), SigningKey.load(Path(sys.argv[2])), *sys.argv[3:5], int(sys.argv[5])
left, real = at, getattr(os, call)
def deadly(*words, **more):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*words, **more)
setattr(os, call, deadly)
print(Cosigner("wim", key, Memory(folder)).cosign(Request.parse(Path(body).read_bytes())).line.decode(), flush=True)
"""


def test_killed_at_any_moment_it_never_cosigns_two_histories(tmp_path: Path) -> None:
    """kill -9 before each open, fsync and rename: either nothing was cosigned, or what was is remembered."""
    keyfile.save(WIM, tmp_path / "key")
    (tmp_path / "body").write_bytes(TRUE.body(12, 20))
    fates = set()
    for call, at in itertools.product(("open", "fsync", "replace"), range(3)):
        folder = tmp_path / f"{call}-{at}"
        cosigner = witness(folder, TRUE)
        cosigner.cosign(TRUE.request(0, 12))
        command = [
            sys.executable,
            "-c",
            CRASH,
            str(folder),
            str(tmp_path / "key"),
            str(tmp_path / "body"),
            call,
            str(at),
        ]
        done = subprocess.run(command, capture_output=True, timeout=30)
        size = remembered(cosigner)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert size in (12, 20)
        assert size == 20 or not done.stdout, "it cosigned what it does not remember"
        fates.add((bool(done.stdout), size))
        assert refused(cosigner, FORK.request(size, 30)).status == 422
        cosigner.cosign(TRUE.request(size, 30))
    assert fates == {(False, 12), (False, 20), (True, 20)}


def test_of_many_at_once_none_goes_back(tmp_path: Path) -> None:
    """Two histories and many sizes in ten threads, through two memories of one folder."""
    cosigners = [witness(tmp_path, TRUE), witness(tmp_path, TRUE)]
    cosigners[0].cosign(TRUE.request(0, 5))
    said: list[Cosigned] = []
    begin = threading.Barrier(10)

    def ask(number: int) -> None:
        dice = random.Random(number)
        begin.wait()
        for _ in range(1000):
            if (size := remembered(cosigners[number % 2])) == 40:
                return
            try:
                said.append(cosigners[number % 2].cosign(dice.choice((TRUE, FORK)).request(size, min(40, size + 2))))
            except NotCosigned:
                pass

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    heads = sorted((head.size, head.root) for head in (Checkpoint.parse(one.note) for one in said))
    assert remembered(cosigners[0]) == 40
    assert len({size for size, _ in heads}) == len(set(heads)), "two heads of one size"
    log = TRUE if heads[-1][1] == TRUE.head(40).root else FORK
    assert all(root == log.head(size).root for size, root in heads), "all of one history"


def test_what_is_remembered_reads_as_it_was_written(tmp_path: Path) -> None:
    cosigner = witness(tmp_path, TRUE)
    for request in (TRUE.request(0, 3), TRUE.request(3, 9)):
        cosigner.cosign(request)
        (known,) = cosigner.memory.all()
        assert Known.parse(known.record()) == known
        assert known.checkpoint is not None
        assert known.checkpoint.cosigned_at(NAMED) == NOW
