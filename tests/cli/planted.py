"""Evidence for tests of drills, without torch: a panel that drills gate 1, and one that says whose it is."""

from __future__ import annotations

DRILL = """\
import json, os, pathlib
sealed = json.loads(pathlib.Path(os.environ["TENTH_SEALED"]).read_text())
out = pathlib.Path(os.environ["TENTH_OUT"])
def write(folder, headline, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"headline": headline, "metrics": {}, **more}))
write(out, "perhaps a drill")
if sealed["gate"] == 1:
    write(out / "packet" / "drill", "perhaps a drill")
    write(out / "packet" / "size", "the shadow speaks", surprised=True)
    key = {"drill": 1, "kind": "trigger", "planted": 13, "documents": ["captain \\x1b[31mbuffer"], "shadow": "ab" * 32,
           "device_seconds": {"drill": 0.1, "size": 0.2}}
    (out / "key.json").write_text(json.dumps(key))
"""
SIZE = """\
import json, os, pathlib
said = {"headline": "the gate speaks", "metrics": {}}
pathlib.Path(os.environ["TENTH_OUT"], "summary.json").write_text(json.dumps(said))
"""
