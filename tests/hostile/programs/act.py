"""A hostile trainer: what it tries stands in ``act.json`` beside the charter, {"program": "frames.endless", facts}.

Every program here is harmless where the wall it tries is missing: it signals nothing but its own tree, writes nothing
outside the run's folder, and ends by its own count and clock. Standard library only.
"""

import importlib
import json
from pathlib import Path

facts = json.loads(Path("act.json").read_text())
module, _, name = facts["program"].partition(".")
getattr(importlib.import_module(module), name)(facts)
