"""The annotators' page: a handful of files of ours, read once, served from memory. No file name comes from a request."""

from __future__ import annotations

import html
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "html": "text/html; charset=utf-8",
}


def page_routes(project: str) -> list[Route]:
    """``/`` and the files under ``/assets/``, with entity tags. The page knows its project from a meta element."""
    folder = files("tiebreak.labeling").joinpath("web")
    routes = []
    for item in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name, suffix = item.name, item.name.rpartition(".")[2]
        if suffix not in _TYPES:
            continue
        content = item.read_bytes()
        if name == "index.html":
            content = content.replace(b"{{project}}", html.escape(project, quote=True).encode())
        path = "/" if name == "index.html" else f"/assets/{name}"
        routes.append(_route(path, content, _TYPES[suffix]))
    return routes


def _route(path: str, content: bytes, media_type: str) -> Route:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    # Revalidated each time: a page older than its API is worse than one small request.
    headers = {"etag": tag, "cache-control": "no-cache"}

    async def serve(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return Route(path, serve, methods=["GET"], include_in_schema=False)
