"""A corpus of forgeries: each takes a valid run directory and leaves one that must not verify.

Two kinds: an outsider edits files (`flip`, `tampering`), or an insider who owns the supervisor's key, and sometimes a
signatory's, writes a false history and signs it correctly (`forge`). `TAMPERINGS` maps a name to the forgery, and
`PROMISES` the same name to the numbers of design §9 that an auditor may name. `NOTED` are leftovers
of a crash: they verify.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from independent.build_run import (
    Run,
    base,
    build,
    digest,
    encode,
    envelope,
    fresh,
    full_story,
    head_note,
    key_of,
    leaf_hash,
    public_line,
    tree_root,
    write_log,
)

Json = Any
Tampering = Callable[[Path], None]
TAMPERINGS: dict[str, Tampering] = {}
PROMISES: dict[str, set[int]] = {}
NOTED: dict[str, Tampering] = {}
REBUILT: set[str] = set()  # forgeries that need no run to begin with: they write their own


def tampering(*promises: int) -> Callable[[Tampering], Tampering]:
    """Enters a forgery into the corpus under its name."""

    def enter(forgery: Tampering) -> Tampering:
        name = forgery.__name__.strip("_").replace("_", " ")
        assert name not in TAMPERINGS
        TAMPERINGS[name], PROMISES[name] = forgery, set(promises)
        return forgery

    return enter


def forge(*promises: int, story: Callable[[Run], None] | None = None, **options: Json) -> Callable[..., Tampering]:
    """Enters a false history, told to a fresh run whose first seal is yet to come (after `story`, where given)."""

    def enter(tell: Callable[[Run], None]) -> Tampering:
        def forgery(path: Path) -> None:
            run = fresh(path, **options)
            if story:
                story(run)
            tell(run)
            run.save()

        forgery.__name__ = tell.__name__
        REBUILT.add(tell.__name__.replace("_", " "))
        return tampering(*promises)(forgery)

    return enter


# An outsider edits files


def flip(name: str, *promises: int, at: float = 0.5) -> None:
    """Enters the flip of one bit in a file, at a fraction of its length."""

    def forgery(path: Path) -> None:
        data = bytearray((path / name).read_bytes())
        data[int(len(data) * at)] ^= 1
        (path / name).write_bytes(data)

    forgery.__name__ = f"flip in {name}" + (f" at {at}" if at != 0.5 else "")
    tampering(*promises)(forgery)


flip("charter.toml", 9, 13)
flip("charter.toml", 9, 13, at=0.99)
flip("recipe.toml", 9)
flip("sft.2.toml", 9)
flip("sft.3.toml", 9)
flip("data.pretrain.jsonl", 9)
flip("data.sft.2.jsonl", 9)
flip("manifest.json", 9)
flip("gates/00/dossier.json", 9)
flip("gates/10.4/dossier.json", 9)
flip("gates/01/evidence/bpb/result.json", 9)
flip("gates/20/evidence/probe/tables/more.txt", 9)
flip("gates/01.2/consents/ada.json", 1, 7, 9)
flip("checkpoints/01/model.safetensors", 9)
flip("checkpoints/20/state/state.json", 9)
flip("samples/000001.jsonl", 7, 9)
flip("samples/000003.jsonl", 7, 9)
flip("log/entries.jsonl", 7)
flip("log/entries.jsonl", 7, at=0.01)
flip("log/entries.jsonl", 7, at=0.995)
flip("log/heads", 7, at=0.25)
flip("log/heads", 7, at=0.9999)


def lines_of(path: Path) -> list[bytes]:
    return (path / "log/entries.jsonl").read_bytes().splitlines()


def put_lines(path: Path, lines: list[bytes]) -> None:
    (path / "log/entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def heads_of(path: Path) -> list[bytes]:
    lines = (path / "log/heads").read_bytes().split(b"\n")[:-1]
    return [b"".join(line + b"\n" for line in lines[i : i + 5]) for i in range(0, len(lines), 5)]


def renumber(lines: list[bytes]) -> list[bytes]:
    return [encode(json.loads(line) | {"index": index}) for index, line in enumerate(lines)]


def first(lines: list[bytes], event: str) -> int:
    return next(i for i, line in enumerate(lines) if json.loads(line)["event"] == event)


@tampering(7)
def drop_an_entry(path: Path) -> None:
    lines = lines_of(path)
    put_lines(path, lines[:20] + lines[21:])


@tampering(7, 8)
def drop_the_last_entries(path: Path) -> None:
    put_lines(path, lines_of(path)[:-3])


@tampering(7)
def reorder_entries(path: Path) -> None:
    lines = lines_of(path)
    lines[2], lines[3] = lines[3], lines[2]
    put_lines(path, lines)


@tampering(7)
def duplicate_an_entry(path: Path) -> None:
    lines = lines_of(path)
    put_lines(path, lines[:3] + lines[2:])


@tampering(1, 7)
def drop_an_entry_and_sign_again(path: Path) -> None:
    lines = lines_of(path)
    write_log(path, renumber(lines[:3] + lines[4:]))


@tampering(7, 9)
def drop_an_objection_and_sign_again(path: Path) -> None:
    lines = lines_of(path)
    at = first(lines, "objected")
    write_log(path, renumber(lines[:at] + lines[at + 1 :]))


@tampering(7, 9)
def drop_a_pull_and_sign_again(path: Path) -> None:
    lines = lines_of(path)
    at = first(lines, "pulled") + 1  # the second pull changes nothing but the record
    write_log(path, renumber(lines[:at] + lines[at + 1 :]))


@tampering(7)
def reorder_entries_and_sign_again(path: Path) -> None:
    lines = lines_of(path)
    lines[2], lines[3] = lines[3], lines[2]
    write_log(path, renumber(lines))


@tampering(7)
def a_gap_in_the_index_and_sign_again(path: Path) -> None:
    lines = lines_of(path)
    write_log(path, [*lines[:-1], encode(json.loads(lines[-1]) | {"index": len(lines)})])


@tampering(7)
def another_time_and_sign_again(path: Path) -> None:
    lines = lines_of(path)
    lines[1] = encode(json.loads(lines[1]) | {"time": "2027-01-01T00:00:00.000Z"})
    write_log(path, lines)


@tampering(7)
def heads_by_another_log_key(path: Path) -> None:
    write_log(path, lines_of(path), key="mallory")


@tampering(7)
def one_head_by_another_log_key(path: Path) -> None:
    heads, lines = heads_of(path), lines_of(path)
    at = first(lines, "leased")
    root = tree_root([leaf_hash(line) for line in lines[: at + 1]])
    heads[at] = head_note("poet-7f3a9c21", at + 1, root, "mallory")
    (path / "log/heads").write_bytes(b"".join(heads))


@tampering(7)
def another_log_key_everywhere(path: Path) -> None:
    lines = lines_of(path)
    opened = json.loads(lines[0])
    opened["body"]["log_key"] = public_line("mallory")
    write_log(path, [encode(opened), *lines[1:]], key="mallory")


@tampering(7)
def last_head_unsigned(path: Path) -> None:
    heads = heads_of(path)
    signed = heads[-1].rsplit(b" ", 1)
    heads[-1] = signed[0] + b"\n"
    (path / "log/heads").write_bytes(b"".join(heads))


@tampering(7)
def heads_emptied(path: Path) -> None:
    (path / "log/heads").write_bytes(b"")


@tampering(7)
def heads_removed(path: Path) -> None:
    (path / "log/heads").unlink()


@tampering(7)
def head_size_not_rising(path: Path) -> None:
    heads = heads_of(path)
    (path / "log/heads").write_bytes(b"".join([*heads, heads[-1]]))


@tampering(7)
def head_size_falling(path: Path) -> None:
    heads = heads_of(path)
    (path / "log/heads").write_bytes(b"".join([*heads[:10], heads[5], *heads[10:]]))


@tampering(7)
def head_size_with_a_leading_zero(path: Path) -> None:
    lines, heads = lines_of(path), heads_of(path)
    text = heads[-1].split(b"\n\n")[0].replace(b"\n%d\n" % len(lines), b"\n0%d\n" % len(lines)) + b"\n"
    lead, _, note = heads[-1].rpartition(b" ")
    key_id = base64.b64decode(note)[:4]
    dash = lead.rpartition(b"\n")[2]
    heads[-1] = text + b"\n" + dash + b" " + base(key_id + key_of("log").sign(text)).encode() + b"\n"
    (path / "log/heads").write_bytes(b"".join(heads))


@tampering(7)
def head_of_another_run(path: Path) -> None:
    lines = lines_of(path)
    write_log(path, lines, run="prose-00000000")


@tampering(7)
def torn_head_in_the_middle(path: Path) -> None:
    heads = heads_of(path)
    heads[10] = heads[10][:40] + b"\n"
    (path / "log/heads").write_bytes(b"".join(heads))


@tampering(7)
def torn_entry_in_the_middle(path: Path) -> None:
    lines = lines_of(path)
    lines[10] = lines[10][:40]
    put_lines(path, lines)


@tampering(7)
def last_newline_cut_though_acknowledged(path: Path) -> None:
    file = path / "log/entries.jsonl"
    file.write_bytes(file.read_bytes()[:-1])


@tampering(7)
def entries_with_dos_line_ends(path: Path) -> None:
    write_log(path, [line + b"\r" for line in lines_of(path)])


@tampering(9)
def swapped_checkpoints(path: Path) -> None:
    one, two = path / "checkpoints/01", path / "checkpoints/02"
    one.rename(path / "aside")
    two.rename(one)
    (path / "aside").rename(two)


@tampering(9)
def extra_file_in_a_checkpoint(path: Path) -> None:
    (path / "checkpoints/03/extra.pkl").write_bytes(b"surprise")


@tampering(9)
def empty_extra_file_deep_in_a_checkpoint(path: Path) -> None:
    (path / "checkpoints/03/a/b").mkdir(parents=True)
    (path / "checkpoints/03/a/b/c").touch()


@tampering(9)
def checkpoint_file_removed(path: Path) -> None:
    (path / "checkpoints/02/model.safetensors").unlink()


@tampering(9)
def checkpoint_file_renamed(path: Path) -> None:
    (path / "checkpoints/02/model.safetensors").rename(path / "checkpoints/02/model2.safetensors")


@tampering(9)
def checkpoint_removed(path: Path) -> None:
    shutil.rmtree(path / "checkpoints/20")


@tampering(9)
def checkpoint_file_behind_a_link(path: Path) -> None:
    file = path / "checkpoints/01/model.safetensors"
    file.rename(path / "elsewhere")
    file.symlink_to(path / "elsewhere")


@tampering(9)
def checkpoint_folder_behind_a_link(path: Path) -> None:
    (path / "checkpoints/01").rename(path / "elsewhere")
    (path / "checkpoints/01").symlink_to(path / "elsewhere")


@tampering(9)
def dossier_removed(path: Path) -> None:
    (path / "gates/01/dossier.json").unlink()


@tampering(9)
def extra_file_in_the_evidence(path: Path) -> None:
    (path / "gates/13/evidence/probe/extra.json").write_bytes(b"{}")


@tampering(9)
def evidence_removed(path: Path) -> None:
    shutil.rmtree(path / "gates/13/evidence/probe")


@tampering(7, 9)
def shard_removed(path: Path) -> None:
    (path / "samples/000002.jsonl").unlink()


@tampering(7, 9)
def shard_shortened(path: Path) -> None:
    file = path / "samples/000002.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


@tampering(9)
def adjusted_recipe_removed(path: Path) -> None:
    (path / "sft.2.toml").unlink()


@tampering(9)
def adjusted_listing_removed(path: Path) -> None:
    (path / "data.sft.2.jsonl").unlink()


@tampering(9, 13)
def charter_removed(path: Path) -> None:
    (path / "charter.toml").unlink()


@tampering(1, 7, 9)
def consent_copy_of_another_gate(path: Path) -> None:
    shutil.copy(path / "gates/00/consents/ada.json", path / "gates/01/consents/ada.json")


# An insider with the supervisor's key: spelling


def spelt(name: str, old: bytes, new: bytes) -> None:
    """Enters a last entry in another spelling of the same JSON."""

    def forgery(path: Path) -> None:
        run = fresh(path)
        run.start()
        run.meter(1.5, 100, reserve=8.5)
        line = run.lines.pop()
        assert old in line
        run.append_line(line.replace(old, new, 1))
        run.save()

    forgery.__name__ = name
    REBUILT.add(name)
    tampering(7)(forgery)


spelt("a space in an entry", b'"event":', b'"event": ')
spelt("a duplicate key in an entry", b'"event":"metered"', b'"event":"metered","event":"metered"')
spelt("a duplicate key in a body", b'"flop":110', b'"flop":110,"flop":110')
spelt("keys out of order", b'"event":"metered","index":8', b'"index":8,"event":"metered"')
spelt("a number with a trailing zero", b'"loss":2.5', b'"loss":2.50')
spelt("an integer with a fraction", b'"flop":110', b'"flop":110.0')
spelt("an integer with an exponent", b'"flop":110', b'"flop":1.1e2')
spelt("a negative zero", b'"step":8', b'"step":-0')
spelt("an integer beyond 2^53", b'"step":8', b'"step":9007199254740993')
spelt("a NaN", b'"loss":2.5', b'"loss":NaN')
spelt("an infinity", b'"loss":2.5', b'"loss":1e999')
spelt("an escape that need not be", b'"event":"metered"', b'"event":"meter\\u0065d"')
spelt("an index that is not a number", b'"index":8', b'"index":"8"')
spelt("an index that is true", b'"index":8', b'"index":true')
spelt("invalid UTF-8 in an entry", b'"step":8', b'"\xff":8')
spelt("a lone surrogate", b'"step":8', b'"\\ud800":8')
spelt("a byte order mark", b'{"body"', b'\xef\xbb\xbf{"body"')
spelt("a time without milliseconds", b".123Z", b"Z")
spelt("an extra key in an entry", b'"index":8', b'"index":8,"signed":true')
spelt("an extra key in a body", b'"flop":110', b'"flop":110,"free":1')
spelt("a negative amount", b'"flop":110', b'"flop":-110')
spelt("an amount that is true", b'"flop":110', b'"flop":true')
spelt("an unknown event", b'"metered"', b'"mended"')
spelt("a body that is a list", b'"body":{', b'"body":[],"bod":{')


@forge(1, 7)
def first_entry_is_not_opened(run: Run) -> None:
    run.lines.clear()
    run.append("pulled", {"by": {"name": "lin", "uid": 1}, "frozen": False, "stopped_ms": None, "spent": run.spent})


@forge(7)
def opened_twice(run: Run) -> None:
    run.append("opened", json.loads(run.lines[0])["body"])


@forge(7, 9, 13, opened={"charter": "0" * 64})
def opened_with_another_charter(run: Run) -> None:
    run.seal()


@forge(7, 9, opened={"version": 2})
def opened_in_another_version(run: Run) -> None:
    run.seal()


@forge(7, 9, opened={"data": {"pretrain": "0" * 64}})
def opened_without_a_listing(run: Run) -> None:
    run.seal()


# ... the charter


@forge(1, 7, 13, keys={"ben": "ada"})
def one_key_under_two_names(run: Run) -> None:
    run.one_tenth()


@forge(1, 7, 13, keys={"lin": "ada"})
def one_key_for_signatory_and_watcher(run: Run) -> None:
    run.one_tenth()


@forge(1, 7, 13, signatories=("ada", "ben", "ada"))
def one_signatory_twice(run: Run) -> None:
    run.seal()


@forge(1, 7, 13, extra="\n[override]\nconsent = false\n")
def an_unknown_rule_in_the_charter(run: Run) -> None:
    run.one_tenth()


@forge(1, 7, 13, signatories=())
def nobody_to_consent(run: Run) -> None:
    run.one_tenth()


@forge(1, 7, 13, parts=9)
def fewer_than_ten_gates_in_an_epoch(run: Run) -> None:
    run.one_tenth()


@tampering(1, 7, 13)
def consent_by_majority_in_the_charter(path: Path) -> None:
    run = fresh(path)
    text = (path / "charter.toml").read_bytes().replace(b'"unanimous"', b'"majority"')
    opened = json.loads(run.lines.pop())["body"] | {"charter": run.write("charter.toml", text)}
    run.append("opened", opened, to="GATHERING")
    run.charter = opened["charter"]
    run.one_tenth()
    run.save()


# ... consent


@forge(1)
def one_consent_missing(run: Run) -> None:
    run.seal()
    run.consent_all(but="ben")
    run.lease()


@forge(1)
def no_consent_at_all(run: Run) -> None:
    run.seal()
    run.lease()


@forge(1)
def one_person_consents_for_all(run: Run) -> None:
    run.seal()
    for _ in range(3):
        run.say("consented", "ada")
    run.lease()


@forge(1)
def objection_ignored(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.say("objected", "cyd")
    run.lease()


@forge(1)
def objection_counted_as_consent(run: Run) -> None:
    run.seal()
    run.consent_all(but="cyd")
    run.append("consented", {"envelope": envelope(run.statement("objected", "cyd"), "cyd")})
    run.lease()


@forge(1)
def consent_by_a_stranger(run: Run) -> None:
    run.seal()
    run.say("consented", "mallory")


@forge(1)
def consent_by_a_watcher(run: Run) -> None:
    run.seal()
    run.say("consented", "lin")


@forge(1)
def consent_signed_by_somebody_else(run: Run) -> None:
    run.seal()
    run.say("consented", "ben", key="ada")


@forge(1, 9)
def consent_with_a_flipped_bit_in_the_signature(run: Run) -> None:
    run.seal()
    said = envelope(run.statement("consented", "ada"), "ada")
    sig = bytearray(base64.b64decode(said["signatures"][0]["sig"]))
    sig[40] ^= 1
    said["signatures"][0]["sig"] = base(bytes(sig))
    run.append("consented", {"envelope": said})


@forge(1, 9)
def consent_with_a_changed_payload(run: Run) -> None:
    run.seal()
    said = envelope(run.statement("consented", "ada"), "ada")
    said["payload"] = base(encode(run.statement("consented", "ada", note="and more")))
    run.append("consented", {"envelope": said})


@forge(1, 7, 9)
def consent_with_two_signatures(run: Run) -> None:
    run.seal()
    said = envelope(run.statement("consented", "ada"), "ada")
    said["signatures"] *= 2
    run.append("consented", {"envelope": said})


@forge(1, 7, 9)
def consent_of_another_payload_type(run: Run) -> None:
    run.seal()
    run.say("consented", "ada", edit={"payloadType": "text/plain"})


@forge(1, 7, 9)
def consent_in_loose_base64(run: Run) -> None:
    run.seal()
    said = envelope(run.statement("consented", "ada"), "ada")
    said["payload"] = said["payload"][:8] + "\n" + said["payload"][8:]
    run.append("consented", {"envelope": said})


@forge(1, 7, 9)
def consent_with_a_duplicate_key(run: Run) -> None:
    run.seal()
    payload = encode(run.statement("consented", "ada"))
    payload = payload.replace(b'"note":""', b'"note":"no","note":""')
    run.append("consented", {"envelope": envelope(None, "ada", payload=payload)})


@forge(1, 7, 9)
def consent_with_spaces_in_the_payload(run: Run) -> None:
    run.seal()
    payload = json.dumps(run.statement("consented", "ada"), sort_keys=True).encode()
    run.append("consented", {"envelope": envelope(None, "ada", payload=payload)})


@forge(1, 9)
def consent_to_another_dossier(run: Run) -> None:
    run.seal()
    run.say("consented", "ada", anchor="0" * 64)


@forge(1, 9)
def consent_to_another_checkpoint(run: Run) -> None:
    run.one_tenth()
    run.seal()
    subject = run.statement("consented", "ada")["subject"]
    subject[-1]["digest"]["sha256"] = digest(b"another checkpoint")
    run.say("consented", "ada", subject=subject)


@forge(1, 9)
def consent_that_leaves_out_the_checkpoint(run: Run) -> None:
    run.one_tenth()
    run.seal()
    run.say("consented", "ada", subject=run.statement("consented", "ada")["subject"][:-1])


@forge(1, 7, 9)
def consent_with_subjects_out_of_order(run: Run) -> None:
    run.seal()
    run.say("consented", "ada", subject=run.statement("consented", "ada")["subject"][::-1])


@forge(1, 9)
def consent_from_another_run(run: Run) -> None:
    run.seal()
    run.say("consented", "ada", run="poet-00000000")


@forge(1, 9)
def consent_from_an_earlier_seal(run: Run) -> None:
    run.seal()
    old = run.say("consented", "ada")
    run.pull()
    run.reopen("ben")
    run.seal()
    run.consent_all(but="ada")
    run.append("consented", {"envelope": old})
    run.lease()


@forge(1)
def consents_kept_over_a_halt(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.pull()
    run.reopen("ben")
    run.seal()
    run.lease()


@forge(1)
def consents_kept_over_an_adjustment(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.adjust("ben", {"recipe": {"depth": 5}})
    run.seal()
    run.lease()


@forge(1)
def consents_kept_over_a_tenth(run: Run) -> None:
    run.one_tenth()
    run.seal()
    run.lease()


@forge(1)
def consent_while_gathering(run: Run) -> None:
    run.seal()
    said = run.statement("consented", "ada")
    run.pull()
    run.reopen("ada")
    run.append("consented", {"envelope": envelope(said, "ada")})


@forge(1, 7, 9)
def a_note_beyond_2000_characters(run: Run) -> None:
    run.seal()
    run.say("consented", "ada", note="x" * 2001)


# ... lease and compute


@forge(4)
def lease_above_the_ceiling(run: Run) -> None:
    run.seal(lease={"device_seconds": 1001})
    run.consent_all()
    run.lease()


@forge(4)
def lease_above_the_flop_ceiling(run: Run) -> None:
    run.seal(lease={"flop": 10**15 + 1})
    run.consent_all()
    run.lease()


@forge(4)
def lease_of_nothing(run: Run) -> None:
    run.seal(lease={"device_seconds": 1})
    run.consent_all()
    run.lease()


@forge(4, 7, 9)
def lease_without_a_limit(run: Run) -> None:
    run.seal(lease={"flop": None})
    run.consent_all()
    run.lease()


@forge(1, 4, 9)
def lease_other_than_proposed(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.lease(lease=run.dossier["proposal"]["lease"] | {"device_seconds": 500})


@forge(1, 9)
def lease_to_an_earlier_dossier(run: Run) -> None:
    run.seal()
    old = run.dossier_digest
    run.pull()
    run.reopen("ada")
    run.seal()
    run.consent_all()
    run.lease(dossier=old)


@forge(1)
def lease_while_halted(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.pull()
    run.lease()


@forge(1)
def lease_while_gathering(run: Run) -> None:
    run.one_tenth()
    run.lease()


@forge(1)
def lease_twice(run: Run) -> None:
    run.start()
    run.lease()


@forge(1, 9)
def lease_for_two_tenths_at_once(run: Run) -> None:
    run.seal(lease={"gate": 2, "tenth": 2})
    run.consent_all()
    run.lease()


@forge(1, 9)
def lease_for_another_phase(run: Run) -> None:
    run.seal(lease={"phase": "sft"})
    run.consent_all()
    run.lease()


@forge(1, 9)
def lease_with_fewer_gates_in_an_epoch(run: Run) -> None:
    run.seal(lease={"of": 1})
    run.consent_all()
    run.lease()


@forge(1, 3, 9)
def lease_that_starts_afresh_in_the_middle(run: Run) -> None:
    run.one_tenth()
    run.seal(lease={"resume": "fresh"})
    run.consent_all()
    run.lease()


@forge(1, 3, 9)
def thaw_of_nothing(run: Run) -> None:
    run.one_tenth()
    run.seal(dossier={"frozen": True}, lease={"resume": "thaw"})
    run.consent_all()
    run.lease()


@forge(1, 3, 9)
def thaw_after_a_crash(run: Run) -> None:
    run.start()
    run.trip("crash")
    run.reopen("ada")
    run.frozen = True
    run.seal()


@forge(4)
def spent_falling_while_running(run: Run) -> None:
    run.start()
    run.meter(5, 500)
    run.meter(spent={"device_seconds": 3, "flop": 510})


@forge(4)
def flop_falling_while_running(run: Run) -> None:
    run.start()
    run.meter(5, 500)
    run.meter(spent={"device_seconds": 7, "flop": 100})


@forge(4)
def spent_falling_at_a_seal(run: Run) -> None:
    run.one_tenth()
    run.seal(spend=-1)


@forge(4)
def spent_falling_when_reached(run: Run) -> None:
    run.start()
    run.meter(5, 500)
    run.reach(seconds=-1)


@forge(4)
def spent_beyond_what_was_reserved(run: Run) -> None:
    run.start()
    run.meter(11)


@forge(4)
def reserved_beyond_the_lease(run: Run) -> None:
    run.start()
    run.meter(reserve=101)


@forge(4)
def reached_beyond_the_lease(run: Run) -> None:
    run.start()
    run.reach(seconds=101)


@forge(4)
def flop_beyond_the_lease(run: Run) -> None:
    run.start()
    run.meter(1, 200_000_000_000_000)


@forge(4)
def pull_forgotten_in_what_was_spent(run: Run) -> None:
    run.start()
    run.pull(seconds=50)
    run.spent = {"device_seconds": 5, "flop": 10}
    run.reopen("ada")
    run.seal()


@forge(4)
def crash_of_the_supervisor_not_charged(run: Run) -> None:
    run.start()
    before = run.spent
    run.trip("lost_supervisor")
    entry = json.loads(run.lines.pop())
    run.append_line(encode(entry | {"body": entry["body"] | {"spent": before}}))
    run.entered = leaf_hash(run.lines[-1]).hex()
    run.spent = before
    run.reopen("ada")
    run.seal()


@forge(1)
def metered_while_halted(run: Run) -> None:
    run.start()
    run.pull()
    run.meter()


@forge(1, 7)
def sampled_while_gathering(run: Run) -> None:
    run.one_tenth()
    run.sample()


@forge(7)
def a_shard_with_another_count(run: Run) -> None:
    run.start()
    run.sample(count=4)


@forge(7, 9)
def a_shard_twice(run: Run) -> None:
    run.start()
    run.sample()
    run.append("sampled", run.samples[1][0])


@forge(5, 7, 9)
def a_shard_outside_the_run(run: Run) -> None:
    run.start()
    outside = run.path.parent / "outside.jsonl"
    outside.write_bytes(b"{}\n")
    run.append("sampled", {"path": "samples/../../outside.jsonl", "sha256": digest(b"{}\n"), "count": 1})


# ... gates and states


@forge(1)
def gate_skipped(run: Run) -> None:
    run.start()
    run.reach(gate=2)


@forge(1)
def gate_repeated(run: Run) -> None:
    run.one_tenth()
    run.start()
    run.reach(gate=1)


@forge(1)
def reached_without_a_lease(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.reach()


@forge(1)
def reached_after_a_pull(run: Run) -> None:
    run.start()
    run.pull()
    run.reach()


@forge(1)
def sealed_without_reopening(run: Run) -> None:
    run.start()
    run.pull()
    run.seal()


@forge(1)
def sealed_for_another_gate(run: Run) -> None:
    run.seal(body={"gate": 1})


@forge(1, 9)
def sealed_twice(run: Run) -> None:
    run.seal()
    run.seal()


@forge(1, 7, 9)
def sealed_under_another_path(run: Run) -> None:
    run.seal()
    body = json.loads(run.lines.pop())["body"]
    shutil.copytree(run.path / "gates/00", run.path / "gates/00.2")
    shutil.rmtree(run.path / "gates/00.2/consents", ignore_errors=True)
    run.append("sealed", body | {"path": "gates/00.2"})


@forge(1)
def reopened_by_a_stranger(run: Run) -> None:
    run.start()
    run.pull()
    run.reopen("mallory")


@forge(1)
def reopened_in_somebody_elses_name(run: Run) -> None:
    run.start()
    run.pull()
    run.reopen("ada", key="mallory")


@forge(1, 9)
def reopened_with_an_old_statement(run: Run) -> None:
    run.start()
    run.pull()
    old = envelope(run.statement("reopened", "ada"), "ada")
    run.append("reopened", {"envelope": old}, to="GATHERING")
    run.pull()
    run.append("reopened", {"envelope": old}, to="GATHERING")


@forge(1)
def reopened_while_not_halted(run: Run) -> None:
    run.seal()
    run.reopen("ada")


@forge(1)
def adjusted_by_a_stranger(run: Run) -> None:
    run.seal()
    run.adjust("mallory", {"recipe": {"depth": 1}})


@forge(1)
def adjusted_while_gathering(run: Run) -> None:
    run.adjust("ada", {"recipe": {"depth": 1}})


@forge(1)
def adjusted_while_running(run: Run) -> None:
    run.start()
    run.adjust("ada", {"recipe": {"depth": 1}})


@forge(9)
def adjusted_recipe_not_written(run: Run) -> None:
    run.seal()
    run.adjust("ada", {"recipe": {"depth": 1}}, write=False)
    run.write("recipe.2.toml", (run.path / "recipe.toml").read_bytes())
    run.seal()


@forge(9)
def adjusted_recipe_ignored(run: Run) -> None:
    run.seal()
    run.adjust("ada", {"recipe": {"depth": 1}})
    run.versions["recipe.toml"] = 1
    run.seal()


@forge(9)
def excluded_documents_kept(run: Run) -> None:
    run.seal()
    run.adjust("ada", {"exclude": ["pretrain/0[0-3].py"]}, write=False)
    run.seal()


@forge(7, 9)
def empty_adjustment(run: Run) -> None:
    run.seal()
    run.adjust("ada", {})


@forge(9)
def added_evidence_missing(run: Run) -> None:
    run.one_tenth()
    run.seal()
    run.adjust("ada", {"evidence": {"add": [{"name": "probe", "command": ["probe"]}]}})
    run.required.remove("probe")
    run.seal()


@forge(7)
def tripped_for_no_known_reason(run: Run) -> None:
    run.start()
    run.trip("boredom")


@forge(7)
def a_shard_hidden_in_a_trip(run: Run) -> None:
    run.start()
    run.trip("crash", sampled=run.shard())


@forge(1, 7)
def tripped_while_halted(run: Run) -> None:
    run.start()
    run.pull()
    run.trip("crash")


@forge(7)
def pulled_without_saying_by_whom(run: Run) -> None:
    run.append("pulled", {"frozen": False, "stopped_ms": None, "spent": run.spent})


@forge(1, 7, story=full_story)
def consented_after_closed(run: Run) -> None:
    run.say("consented", "ada")


@forge(1, 7, story=full_story)
def pulled_after_closed(run: Run) -> None:
    run.pull()


@forge(1, 7, story=full_story)
def leased_after_closed(run: Run) -> None:
    run.lease()


@forge(1, 7, story=full_story)
def closed_twice(run: Run) -> None:
    run.release()


@forge(1)
def released_before_the_last_gate(run: Run) -> None:
    run.seal()
    run.consent_all()
    run.release()


@forge(1, phases=(("pretrain", 1, "recipe.toml"),))
def released_without_one_consent(run: Run) -> None:
    run.tenths(10)
    run.seal()
    run.consent_all(but="ada")
    run.release()


@forge(1, 9, phases=(("pretrain", 1, "recipe.toml"),))
def leased_past_the_last_gate(run: Run) -> None:
    run.tenths(10)
    run.seal()
    limits = {"device_seconds": 900, "flop": 10**14}
    run.dossier["proposal"] = {"lease": {"gate": 11, "phase": "pretrain", "epoch": 1, "tenth": 11, "of": 10} | limits}
    run.consent_all()
    run.lease()


@forge(1, 9, phases=(("pretrain", 1, "recipe.toml"),))
def a_lease_proposed_at_the_last_gate(run: Run) -> None:
    run.tenths(10)
    lease = {"gate": 11, "phase": "pretrain", "epoch": 1, "tenth": 11, "of": 10, "resume": "checkpoint"}
    run.seal(dossier={"proposal": {"lease": lease | {"device_seconds": 900, "flop": 10**14}}})


@forge(1)
def abandoned_by_a_stranger(run: Run) -> None:
    run.seal()
    run.abandon("mallory")


@forge(1)
def abandoned_while_running(run: Run) -> None:
    run.start()
    run.abandon("ada")


@forge(1, 9)
def abandoned_with_an_old_statement(run: Run) -> None:
    run.seal()
    old = envelope(run.statement("closed", "ada"), "ada")
    run.pull()
    run.append("closed", {"outcome": "abandoned", "envelope": old})


@forge(7)
def closed_with_an_unknown_outcome(run: Run) -> None:
    run.seal()
    run.append("closed", {"outcome": "finished", "envelope": envelope(run.statement("closed", "ada"), "ada")})


# ... the dossier


def dossier_says(name: str, *promises: int, **changes: Json) -> None:
    """Enters a dossier, sealed and consented to by all, that is wrong in one field."""

    def forgery(path: Path) -> None:
        run = fresh(path)
        run.start()
        run.sample()
        run.pull()
        run.adjust("ada", {"recipe": {"depth": 5}})
        run.one_tenth()
        run.seal(dossier=changes)
        run.consent_all()
        run.lease()
        run.save()

    forgery.__name__ = f"dossier with {name}"
    REBUILT.add(forgery.__name__)
    tampering(*promises)(forgery)


dossier_says("another version", 7, 9, version=2)
dossier_says("another run", 1, 7, 9, run="poet-00000000")
dossier_says("another gate", 1, 9, gate=0)
dossier_says("another seal", 9, seal=0)
dossier_says("another log", 7, 9, log={"size": 3, "root": "0" * 64})
dossier_says("another charter", 9, 13, charter="0" * 64)
dossier_says("another recipe", 9, recipe="0" * 64)
dossier_says("other data", 9, data="0" * 64)
dossier_says("another manifest", 9, manifest="0" * 64)
dossier_says("no checkpoint", 9, checkpoint=None)
dossier_says("another position", 9, position={"step": 0})
dossier_says("less spent", 4, 9, spent={"device_seconds": 1, "flop": 0})
dossier_says("a higher ceiling", 4, 9, ceiling={"device_seconds": 2000, "flop": 10**15})
dossier_says("no evidence", 9, evidence=[])
dossier_says("no samples", 7, 9, samples=[])
dossier_says("no halts", 7, 9, halts=[])
dossier_says("no adjustments", 7, 9, adjustments=[])
dossier_says("rosier claims", 4, 9, claims={"loss": 0.01, "step": 1})
dossier_says("a release proposed early", 1, 9, proposal={"release": True})
dossier_says("an extra field", 7, 9, recommendation="approve")
dossier_says("a frozen that is no truth value", 3, 7, 9, frozen=0)


@forge(7, 9)
def dossier_in_another_spelling(run: Run) -> None:
    run.seal()
    text = json.dumps(run.dossier, sort_keys=True).encode()
    body = json.loads(run.lines.pop())["body"]
    run.append("sealed", body | {"dossier": run.write("gates/00/dossier.json", text)})


# Leftovers of a crash: they verify, and are noted


def noted(leftover: Tampering) -> Tampering:
    NOTED[leftover.__name__.replace("_", " ")] = leftover
    return leftover


@noted
def torn_last_entry(path: Path) -> None:
    with (path / "log/entries.jsonl").open("ab") as file:
        file.write(b'{"body":{"spen')


@noted
def torn_last_head(path: Path) -> None:
    with (path / "log/heads").open("ab") as file:
        file.write(b"tenth/poet-7f3a9c21\n76\nAAAA")


@noted
def torn_last_head_within_the_dash(path: Path) -> None:
    with (path / "log/heads").open("ab") as file:
        file.write(heads_of(path)[-1][:-95][: heads_of(path)[-1].index(b"\xe2\x80") + 1])


@noted
def entries_without_a_head(path: Path) -> None:
    with (path / "log/entries.jsonl").open("ab") as file:
        file.write(b"nobody was told\n")


@noted
def last_head_lost(path: Path) -> None:
    (path / "log/heads").write_bytes(b"".join(heads_of(path)[:-1]))


@noted
def checkpoint_that_nobody_logged(path: Path) -> None:
    (path / "checkpoints/99").mkdir()
    (path / "checkpoints/99/model.safetensors").write_bytes(b"half")


@noted
def shard_that_nobody_logged(path: Path) -> None:
    (path / "samples/000099.jsonl").write_bytes(b"{}\n")


@noted
def gate_that_nobody_sealed(path: Path) -> None:
    (path / "gates/99/evidence").mkdir(parents=True)


__all__ = ["NOTED", "PROMISES", "REBUILT", "TAMPERINGS", "build"]
