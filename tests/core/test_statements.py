"""Is a signed word taken only from its signatory, for its run, its moment and its dossier, bit for bit? (promise 9)"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth import charter as charters
from tenth.encoding import b64, canonical, envelope, pae, unb64
from tenth.errors import BadEncoding, BadStatement, TenthError, WrongInput
from tenth.gate import statement
from tenth.gate.adjustment import check_patch, evidence_in_force, numbered, patched_recipe, set_keys, without_excluded
from tenth.gate.lease import Lease, propose
from tenth.keys import SigningKey

KEYS = {name: SigningKey.generate() for name in ("ada", "bob", "lin", "eve")}
CHARTER = charters.parse(
    f"""
[run]
name = "poet"
purpose = "tests"
[[phase]]
name = "pretrain"
command = ["x"]
data = ["d"]
[ceiling]
device_seconds = 100
flop = 1e15
[quarantine]
level = "none"
[[signatory]]
name = "ada"
key = "{KEYS["ada"].public.line}"
[[signatory]]
name = "bob"
key = "{KEYS["bob"].public.line}"
[[watcher]]
name = "lin"
key = "{KEYS["lin"].public.line}"
""".encode()
)
HASH = "ab" * 32
NOW = "2026-11-21T09:30:00.123Z"


def sign(event: str = "reopened", who: str = "ada", **changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"run": "poet-1", "signatory": who, "anchor": HASH, "time": NOW, "key": KEYS[who]}
    return statement.sign(event, **{**facts, **changes})


def sign_body(body: Any, who: str = "ada") -> dict[str, Any]:
    """Sign whatever is given."""
    payload = body if isinstance(body, bytes) else canonical(body)
    return envelope(payload, "", KEYS[who].sign(pae(payload)))


def body_of(value: dict[str, Any]) -> Any:
    return json.loads(unb64(value["payload"]))


def test_a_statement_reads_as_it_was_signed() -> None:
    subjects = [("dossier", HASH), ("charter", "cd" * 32)]
    said = statement.read(sign("consented", subjects=subjects, note="fine"), CHARTER)
    assert (said.event, said.signatory, said.run, said.anchor, said.note) == (
        "consented",
        "ada",
        "poet-1",
        HASH,
        "fine",
    )
    assert list(said.subjects) == subjects
    assert statement.read(sign("adjusted", patch={"exclude": ["a"]}), CHARTER).patch == {"exclude": ["a"]}


def test_a_word_from_a_stranger_or_a_watcher_is_refused() -> None:
    for who in ("lin", "eve"):
        with pytest.raises(BadStatement, match="not a signatory"):
            statement.read(sign(who=who), CHARTER)


def test_nobody_speaks_for_another() -> None:
    for liar in ("bob", "lin", "eve"):
        with pytest.raises(BadStatement, match="signature"):
            statement.read(sign(who="ada", key=KEYS[liar]), CHARTER)


def test_one_flipped_bit_anywhere_is_refused() -> None:
    good = sign("consented", subjects=[("dossier", HASH)])
    for part in ("payload", "sig"):
        data = unb64(good["payload"] if part == "payload" else good["signatures"][0]["sig"])
        for at in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[at // 8] ^= 1 << at % 8
            forged = json.loads(json.dumps(good))
            if part == "payload":
                forged["payload"] = b64(bytes(flipped))
            else:
                forged["signatures"][0]["sig"] = b64(bytes(flipped))
            with pytest.raises(WrongInput):
                statement.read(forged, CHARTER)


def test_the_signature_covers_the_payload_type() -> None:
    payload = unb64(sign()["payload"])
    with pytest.raises(BadStatement):
        statement.read(envelope(payload, "", KEYS["ada"].sign(pae(payload, "text/plain"))), CHARTER)
    with pytest.raises(BadStatement):
        statement.read(envelope(payload, "", KEYS["ada"].sign(payload)), CHARTER)


BODY = body_of(sign("consented", subjects=[("dossier", HASH)]))
ADJUSTED = body_of(sign("adjusted", patch={"exclude": ["a"]}))
CHANGES: list[dict[str, Any]] = [
    {"_type": "https://in-toto.io/Statement/v0.1"},
    {"_type": []},
    {"predicateType": "urn:tenth:consent:v2"},
    {"predicateType": {}},
    {"more": 1},
    {"subject": {}},
    {"subject": [None]},
    {"subject": [{"name": "dossier"}]},
    {"subject": [{"name": 1, "digest": {"sha256": HASH}}]},
    {"subject": [{"name": "dossier", "digest": {"sha256": HASH.upper()}}]},
    {"subject": [{"name": "dossier", "digest": {"sha256": HASH[:-1]}}]},
    {"subject": [{"name": "dossier", "digest": {"sha512": HASH}}]},
    {"subject": [{"name": "dossier", "digest": HASH}]},
    {"predicate": []},
    {"predicate": {}},
    {"predicate": {**BODY["predicate"], "anchor": None}},
    {"predicate": {**BODY["predicate"], "note": "x" * 2001}},
    {"predicate": {**BODY["predicate"], "note": 1}},
    {"predicate": {**BODY["predicate"], "time": "now"}},
    {"predicate": {**BODY["predicate"], "time": "2026-11-21T09:30:00Z"}},
    {"predicate": {**BODY["predicate"], "signatory": ["ada"]}},
    {"predicate": {**BODY["predicate"], "patch": {}}},
    {"predicate": {**BODY["predicate"], "expires": "never"}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: repr(change)[:60])
def test_a_genuine_signature_does_not_make_a_statement(change: dict[str, Any]) -> None:
    with pytest.raises(BadEncoding):
        statement.read(sign_body({**BODY, **change}), CHARTER)


def test_a_body_that_is_not_canonical_is_refused() -> None:
    for data in (json.dumps(BODY).encode(), canonical(BODY) + b"\n", b"", b"null", canonical([BODY])):
        with pytest.raises(BadEncoding):
            statement.read(sign_body(data), CHARTER)


def test_only_an_adjustment_has_a_patch_and_only_the_anchor_as_subject() -> None:
    for change in (
        {"subject": BODY["subject"]},
        {"predicate": {name: value for name, value in ADJUSTED["predicate"].items() if name != "patch"}},
    ):
        with pytest.raises(BadEncoding):
            statement.read(sign_body({**ADJUSTED, **change}), CHARTER)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=9), x)
    )
)
def test_any_value_is_a_statement_or_refused(value: Any) -> None:
    for candidate in (value, {"payload": value, "payloadType": value, "signatures": value}):
        with pytest.raises(WrongInput):
            statement.read(candidate, CHARTER)


# --- adjustments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "patch",
    [
        None,
        {},
        [],
        {"recipe": []},
        {"recipe": {"": 1}},
        {"recipe": {"a..b": 1}},
        {"recipe": {"a": None}},
        {"recipe": {"a": {"b": 1}}},
        {"recipe": {"a": [None]}},
        {"exclude": "a"},
        {"exclude": [""]},
        {"exclude": [1]},
        {"evidence": []},
        {"evidence": {"drop": "bpb"}},
        {"evidence": {"add": {}}},
        {"evidence": {"add": [{"name": "x"}]}},
        {"evidence": {"add": [{"name": "../x", "command": ["a"]}]}},
        {"evidence": {"add": [{"name": "x", "command": []}]}},
        {"evidence": {"add": [{"name": "x", "command": "a"}]}},
        {"evidence": {"keep": []}},
        {"ceiling": {"flop": 1}},
    ],
    ids=repr,
)
def test_a_patch_of_another_form_is_refused(patch: Any) -> None:
    with pytest.raises(BadStatement):
        check_patch(patch)


@pytest.mark.parametrize("depth", [5, 100, 300, 600, 900])
def test_a_deeply_nested_patch_is_refused_in_words_or_can_be_carried_out(depth: int) -> None:
    payload = canonical(ADJUSTED).replace(
        b'{"exclude":["a"]}', b'{"recipe":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    )
    try:
        patch = statement.read(sign_body(payload), CHARTER).patch or {}
        assert tomllib.loads(patched_recipe(RECIPE, [patch["recipe"]]).decode())["a"] == patch["recipe"]["a"]
    except WrongInput:
        assert depth > 5


RECIPE = b'depth = 1\nname = "a"\n[optim]\nlr = 0.5\n'
TOML = st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TOML |= st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1, max_size=6)
PATCH = st.dictionaries(
    st.lists(WORD, min_size=1, max_size=3).map(".".join), TOML | st.lists(TOML, max_size=3), max_size=4
)


@given(st.lists(PATCH, max_size=3))
def test_an_adjusted_recipe_says_what_was_signed(patches: list[dict[str, Any]]) -> None:
    wanted = tomllib.loads(RECIPE.decode())
    try:
        for patch in patches:
            set_keys(wanted, patch)
        written = patched_recipe(RECIPE, patches)
    except BadStatement:
        return
    assert tomllib.loads(written.decode()) == wanted


def test_an_adjustment_sets_dotted_keys_in_order() -> None:
    written = patched_recipe(RECIPE, [{"optim.lr": 0.1, "data.seed": 7}, {"optim.lr": 0.2, "depth": 3}])
    assert tomllib.loads(written.decode()) == {
        "depth": 3,
        "name": "a",
        "optim": {"lr": 0.2},
        "data": {"seed": 7},
    }
    assert patched_recipe(RECIPE, [{}]) == RECIPE
    with pytest.raises(BadStatement, match="'name'"):
        patched_recipe(RECIPE, [{"name.inner": 1}])


def test_excluded_documents_are_left_out() -> None:
    rows = [canonical({"path": path, "sha256": HASH, "size": 1}) + b"\n" for path in ("a/B.py", "a/b.py", "c/é.txt")]
    listing = b"".join(rows)
    assert without_excluded(listing, ["a/b*"]) == rows[0] + rows[2]
    assert without_excluded(listing, ["*.txt", "a/B.py"]) == rows[1]
    assert without_excluded(listing, []) == listing
    assert without_excluded(listing, ["*"]) == b""


def test_evidence_is_dropped_and_added_in_order() -> None:
    asked = (charters.Evidence("bpb", ("a",), 60.0), charters.Evidence("style", ("b",), 60.0))
    patches: list[Any] = [
        {"evidence": {"drop": ["bpb"], "add": [{"name": "more", "command": ["c", "d"]}]}},
        {"exclude": ["x"]},
    ]
    assert [(panel.name, panel.command) for panel in evidence_in_force(asked, patches)] == [
        ("style", ("b",)),
        ("more", ("c", "d")),
    ]


def test_names_are_numbered_before_the_suffix() -> None:
    assert [numbered("recipe.toml", n) for n in (1, 2, 12)] == ["recipe.toml", "recipe.2.toml", "recipe.12.toml"]
    assert numbered("03", 2) == "03.2"


# --- leases ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 9), st.floats(0, 200), st.floats(0, 2e15))
def test_a_lease_never_passes_the_ceiling(gate: int, seconds: float, flop: float) -> None:
    lease = propose(CHARTER, gate, charters.Compute(seconds, flop), "fresh")
    assert lease
    assert lease.limit <= CHARTER.ceiling
    assert Lease.parse(lease.record()) == lease


def test_nothing_is_proposed_at_the_last_gate() -> None:
    assert propose(CHARTER, CHARTER.gates, charters.Compute(0, 0), "fresh") is None


GOOD_LEASE = Lease(1, "pretrain", 1, 1, 10, "fresh", 10.0, 1e9).record()


@pytest.mark.parametrize(
    "change",
    [
        {"gate": True},
        {"gate": 1.5},
        {"of": None},
        {"phase": 1},
        {"resume": "anew"},
        {"resume": []},
        {"flop": -1},
        {"flop": True},
        {"device_seconds": "1"},
        {"more": 1},
    ],
)
def test_what_is_not_quite_a_lease_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TenthError):
        Lease.parse({**GOOD_LEASE, **change})
    with pytest.raises(TenthError):
        Lease.parse(None)


def test_the_words_of_a_refusal_have_three_parts(tmp_path: Path) -> None:
    with pytest.raises(BadStatement) as error:
        statement.read(sign(who="eve"), CHARTER)
    assert set(error.value.parts()) == {"refused", "found", "do"}
    assert "ada" in error.value.do
