"""Is every charter that is not one refused with the place, what was found, and the nearest known key?"""

from __future__ import annotations

import re
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenth import charter as charters
from tenth.errors import BadCharter
from tenth.keys import SigningKey

ADA, BOB, LIN, WIM, EVE = (SigningKey.generate().public.line for _ in range(5))


def document() -> dict[str, Any]:
    """A charter with every key there is."""
    return {
        "run": {"name": "poet", "purpose": "Sonnets."},
        "phase": [
            {
                "name": "pretrain",
                "command": ["trainer"],
                "data": ["data"],
                "epochs": 2,
                "recipe": "recipe.toml",
                "code": ["train.py"],
                "env": {"THREADS": "2"},
            }
        ],
        "gates": {"every": "1/20 epoch", "consent": "unanimous"},
        "ceiling": {"device_seconds": 100, "flop": 1e15},
        "seal": {"checkpoints": True, "escrow": EVE},
        "quarantine": {
            "level": "full",
            "silence_seconds": 30,
            "loopback": True,
            "processes": 9,
            "memory_bytes": 1e9,
            "output_bytes": 1e9,
            "gpus": [0, 3],
            "jail": 2,
        },
        "watch": {"samples_per_minute": 5, "unwatched": "wait", "prompts": ["a"], "alarms": ["loss"]},
        "evidence": [{"name": "bpb", "command": ["evidence"], "timeout_seconds": 60}],
        "signatory": [{"name": "ada", "key": ADA}, {"name": "bob", "key": BOB}],
        "watcher": [{"name": "lin", "key": LIN}],
        "witness": [{"name": "wim", "key": WIM}],
    }


def parse(value: dict[str, Any]) -> charters.Charter:
    return charters.parse(tomli_w.dumps(value).encode())


def row(value: dict[str, Any], table: str) -> dict[str, Any]:
    return value[table][0] if isinstance(value[table], list) else value[table]  # type: ignore[no-any-return]


def refusal(value: dict[str, Any]) -> BadCharter | None:
    """Why this is not a charter; None if it is one."""
    try:
        parse(value)
    except BadCharter as error:
        return error
    return None


KEYS = [(table, key) for table, keys in charters.SCHEMA.items() for key in keys]


def test_a_full_charter_is_read() -> None:
    value = parse(document())
    assert (value.name, value.gates, value.gates_per_epoch) == ("poet", 40, 20)
    assert set(value.signatories) == {"ada", "bob"}
    assert (set(value.watchers), set(value.witnesses)) == ({"lin"}, {"wim"})
    assert value.phases[0].env == {"THREADS": "2"}
    assert value.watch.alarms == ("loss",)
    assert {(t, k) for t, rows in document().items() for k in row({t: rows}, t)} == set(KEYS), "every key is tried"


def test_the_tenths_are_counted_across_epochs_and_phases() -> None:
    value = document()
    value["phase"].append({"name": "tune", "command": ["t"], "data": ["d"]})
    charter = parse(value)
    tenths = [charter.tenth_after(gate) for gate in range(charter.gates + 1)]
    assert tenths[-1] is None
    assert [(t.phase.name, t.epoch, t.tenth, t.gate) for t in tenths if t][19:21] == [
        ("pretrain", 1, 20, 20),
        ("pretrain", 2, 1, 21),
    ]
    assert [(t.phase.name, t.epoch, t.tenth) for t in tenths if t][40] == ("tune", 1, 1)


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_an_unknown_key_is_named_with_its_nearest(table: str, key: str) -> None:
    value = document()
    row(value, table)[key + "s"] = 1
    with pytest.raises(BadCharter) as error:
        parse(value)
    assert f"'{key}s'" in error.value.found
    assert re.search(r"\[+" + table, error.value.found)
    assert f"'{key}'" in error.value.do


@pytest.mark.parametrize("table", document())
def test_an_unknown_table_is_named_with_its_nearest(table: str) -> None:
    value = document()
    value[table + "x"] = value.pop(table)
    with pytest.raises(BadCharter, match=f"unknown table '{table}x'.*'{table}'"):
        parse(value)


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_a_missing_key_is_named_or_has_a_default(table: str, key: str) -> None:
    value = document()
    del row(value, table)[key]
    if charters.SCHEMA[table][key][1] is not charters.REQUIRED:
        parse(value)
        return
    with pytest.raises(BadCharter) as error:
        parse(value)
    assert f"'{key}'" in error.value.found


@pytest.mark.parametrize("table", ["run", "phase", "ceiling", "quarantine", "signatory"])
def test_a_missing_table_is_named(table: str) -> None:
    value = document()
    del value[table]
    with pytest.raises(BadCharter) as error:
        parse(value)
    assert f"[{table}]" in error.value.found


WRONG = [True, -1, 1.5, "\0", "", [], ["a", 1], {}, {"a": 1}, {"TENTH_X": "1"}, {"": "1"}, {"A=": "x"}]


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_an_ill_typed_key_is_named(table: str, key: str) -> None:
    refused = 0
    for wrong in WRONG:
        value = document()
        row(value, table)[key] = wrong
        if error := refusal(value):
            refused += 1
            assert key in error.found
            assert error.do
    assert refused >= 8


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "0", "-1", "true", '"1"', "1" + "0" * 400, "1e999", "[1]"])
def test_a_number_that_is_no_amount_is_refused(value: str) -> None:
    source = tomli_w.dumps(document()).replace("flop = 1000000000000000.0", f"flop = {value}")
    assert value in source
    with pytest.raises(BadCharter):
        charters.parse(source.encode())


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("phase", "command", ["a\0b"]),
        ("phase", "data", ["a\0b"]),
        ("phase", "env", {"A": "x\0y"}),
        ("phase", "env", {"A\0B": "x"}),
        ("evidence", "command", ["a\0b"]),
    ],
)
def test_a_word_that_no_program_can_be_given_is_refused(table: str, key: str, value: Any) -> None:
    changed = document()
    row(changed, table)[key] = value
    with pytest.raises(BadCharter):
        parse(changed)


@pytest.mark.parametrize(
    "every", ["1/9 epoch", "1/1 epoch", "1/010 epoch", "1/10000 epoch", "1/10", "2/20 epoch", "1/１0 epoch"]
)
def test_gates_are_never_further_apart_than_a_tenth(every: str) -> None:
    value = document()
    value["gates"]["every"] = every
    with pytest.raises(BadCharter, match="every"):
        parse(value)


@pytest.mark.parametrize("consent", ["majority", "2/3", "Unanimous", ""])
def test_there_is_no_other_consent(consent: str) -> None:
    value = document()
    value["gates"]["consent"] = consent
    with pytest.raises(BadCharter, match="consent"):
        parse(value)


@pytest.mark.parametrize(
    "recipe", ["../r.toml", "/r.toml", "a/b.toml", "r.2.toml", "charter.toml", "r", ".toml", "r.toml\n"]
)
def test_a_recipe_is_a_file_beside_the_charter(recipe: str) -> None:
    value = document()
    value["phase"][0]["recipe"] = recipe
    with pytest.raises(BadCharter, match="recipe"):
        parse(value)


@pytest.mark.parametrize("name", ["", "Ada", "-a", "a b", "a/b", "..", "a" * 33, "ädá", "a\n", "1a", "a.b"])
def test_a_name_is_plain(name: str) -> None:
    for table in ("run", "phase", "evidence", "signatory", "watcher", "witness"):
        value = document()
        row(value, table)["name"] = name
        with pytest.raises(BadCharter, match="name"):
            parse(value)


@pytest.mark.parametrize("where", ["signatory", "watcher", "witness"])
def test_one_key_under_two_names_is_refused(where: str) -> None:
    value = document()
    value[where].append({"name": "eve", "key": ADA + " another-comment"})
    with pytest.raises(BadCharter) as error:
        parse(value)
    assert "'ada'" in error.value.found
    assert "'eve'" in error.value.found


@pytest.mark.parametrize("table", ["phase", "evidence", "signatory", "watcher", "witness"])
def test_one_name_twice_is_refused(table: str) -> None:
    value = document()
    twin = dict(value[table][0])
    if "key" in twin:
        twin["key"] = SigningKey.generate().public.line
    value[table].append(twin)
    with pytest.raises(BadCharter, match="two"):
        parse(value)


def test_duplicated_keys_are_refused() -> None:
    source = tomli_w.dumps(document())
    for twice in ('name = "poet"\n', 'consent = "unanimous"\n', "[ceiling]\n"):
        assert twice in source
        with pytest.raises(BadCharter):
            charters.parse(source.replace(twice, twice * 2, 1).encode())


@pytest.mark.parametrize(
    "source", [b"", b"\xff", b"\x00", b"[run", b"a" * 100_000, b"[" * 50_000, b"a = " + b"[" * 50_000]
)
def test_what_is_not_toml_is_refused(source: bytes) -> None:
    with pytest.raises(BadCharter):
        charters.parse(source)


def test_the_digest_is_of_the_bytes() -> None:
    source = tomli_w.dumps(document()).encode()
    one, other = charters.parse(source), charters.parse(source + b"# a comment\n")
    assert one.digest != other.digest


SCALARS = st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SCALARS |= st.sampled_from([ADA, "1/10 epoch", "poet", "full", 10**400, -(10**30), "a\0b"])
TOML = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(KEYS), TOML, st.booleans())
def test_a_wrong_value_is_a_charter_or_a_bad_charter(place: tuple[str, str], value: Any, whole: bool) -> None:
    changed = document()
    if whole:
        changed[place[0]] = value
    else:
        row(changed, place[0])[place[1]] = value
    if error := refusal(changed):
        assert error.refused
        assert error.found


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 800), st.integers(0, 30))
def test_a_damaged_charter_is_a_charter_or_a_bad_charter(noise: bytes, at: int, cut: int) -> None:
    source = tomli_w.dumps(document()).encode()
    try:
        charters.parse(source[:at] + noise + source[at + cut :])
    except BadCharter:
        pass
