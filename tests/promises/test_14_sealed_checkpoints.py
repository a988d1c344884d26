"""Promise 14: a sealed checkpoint opens only with every signatory's share. Not yet: tested is that the gap is there."""

from __future__ import annotations

import size
from tenth.charter import KEYS

PROMISE = 14
STATUS = "not yet kept: checkpoints lie unencrypted in the run directory"


def test_no_charter_can_ask_for_sealed_checkpoints() -> None:
    assert not {"sealing", "seal", "escrow", "share"} & {*KEYS, *(key for keys in KEYS.values() for key in keys)}


def test_nothing_in_the_core_encrypts() -> None:
    sources = [path.read_text(encoding="utf-8").lower() for part in size.CORE for path in size.files_of(part)]
    assert not any(word in source for source in sources for word in ("hpke", "aesgcm", "x25519"))
