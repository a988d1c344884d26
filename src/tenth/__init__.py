"""tenth: train language models under oversight that holds. One person can stop a run; only everyone can start it.

The public names load when they are first used, so that ``tenth pull`` and a reviewer's install stay light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenth.client import NotSupervised, Run, attach

__version__ = "0.1.0"
__all__ = ["NotSupervised", "Run", "__version__", "attach"]

_HOME_OF = {"attach": "tenth.client", "NotSupervised": "tenth.client", "Run": "tenth.client"}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tenth' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
