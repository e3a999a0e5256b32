"""The API and the annotators' page as one ASGI application. Denies by default: only the page's own files need no token."""

from __future__ import annotations

from fastapi import FastAPI

from tiebreak import __version__
from tiebreak.labeling.http_context import LabelingContext
from tiebreak.labeling.http_crowd import crowd_routes
from tiebreak.labeling.http_errors import install
from tiebreak.labeling.http_gold import gold_routes
from tiebreak.labeling.http_hot import HotPaths
from tiebreak.labeling.http_openapi import DescribedApp
from tiebreak.labeling.http_page import page_routes
from tiebreak.labeling.http_registry import registry_routes
from tiebreak.labeling.http_reveal import reveal_routes
from tiebreak.labeling.http_review import review_routes
from tiebreak.labeling.http_security import BodyLimit, SecurityHeaders
from tiebreak.labeling.http_tasks import task_routes
from tiebreak.runtime.ops_http import ops_routes

__all__ = ["LabelingContext", "create_app"]

# The largest body is an answer with a comment; people send nothing bigger.
MAX_BODY_BYTES = 64 * 1024


class LabelingApp(DescribedApp):
    """The application whose two hottest requests go past all of its layers, where the server has a look at its ``door``."""

    door: HotPaths | None = None


def create_app(ctx: LabelingContext) -> FastAPI:
    """The application for one project. It starts nothing: loops and connections belong to ``apps``."""
    app = LabelingApp(
        title="Tiebreak labeling",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # Clients that are generated name their methods by it.
        generate_unique_id_function=lambda route: route.name,
    )
    install(app, ctx.metrics)
    app.include_router(task_routes(ctx))
    app.include_router(review_routes(ctx))
    app.include_router(reveal_routes(ctx))
    app.include_router(registry_routes(ctx))
    app.include_router(crowd_routes(ctx))
    app.include_router(gold_routes(ctx))
    app.routes.extend(page_routes(ctx.project.project))
    if ctx.health is not None:
        app.routes.extend(ops_routes(ctx.health, ctx.metrics))
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(SecurityHeaders)
    app.door = HotPaths(app, ctx, MAX_BODY_BYTES)
    return app
