"""The scripts and styles that pages load: which files, their digests, and the one path under which they are served.

The path bears the digest of them all, so a page never mixes two versions, and a browser may keep them for ever.
"""

from __future__ import annotations

import mimetypes
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tenth.encoding import canonical, digest
from tenth.web.trust import refusal

FOLDER = Path(__file__).parent / "static"
SERVED = (".js", ".mjs", ".css", ".svg")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Assets:
    """Everything below ``static/`` that a browser may load, read once."""

    files: dict[str, bytes]

    @classmethod
    def read(cls) -> Assets:
        names = sorted(path for path in FOLDER.rglob("*") if path.suffix in SERVED and not path.name.endswith(".d.mts"))
        return cls({path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in names})

    @cached_property
    def digests(self) -> dict[str, str]:
        return {name: digest(data) for name, data in self.files.items()}

    @cached_property
    def digest(self) -> str:
        """Of the canonical JSON of all the names and digests."""
        return digest(canonical(self.digests))

    def url(self, name: str) -> str:
        assert name in self.files, name
        return f"/static/{self.digest[:16]}/{name}"


def vendored() -> list[dict[str, Any]]:
    """What others wrote: file, version, licence and digest, as ``vendor/VENDORED.toml`` lists it."""
    return list(tomllib.loads((FOLDER / "vendor" / "VENDORED.toml").read_text())["asset"])


async def serve(request: Request) -> Response:
    assets: Assets = request.app.state.assets
    name = request.path_params["name"]
    if request.path_params["version"] != assets.digest[:16] or name not in assets.files:
        return refusal(404, "there is no such file", "reload the page")
    kind = TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(
        assets.files[name], media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )
