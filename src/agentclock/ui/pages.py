"""The routes of the dashboard: its page, and the files that the page asks for."""

from __future__ import annotations

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response

from agentclock.ui.files import Bundle, File, load_bundle

#: Scripts and styles of our own only, and no text may become markup or code (Trusted Types).
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: Files are no documents: whatever they are shown as by themselves, they do nothing.
_FILE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
#: What the first screen needs: asked for at once, not one after the other as the modules find out.
_FIRST: Final = (
    "lib.js", "api.js", "store.js", "router.js", "format.js", "status.js", "dialogs.js", "actions.js", "keys.js",
    "live.js", "session.js", "palette.js", "screens/overview.js",
)  # fmt: skip


class Dashboard:
    """`api_root` stands before the paths of the interface, `home` is the path of the page itself: "/" or "/scheduler",
    both as the app that serves them sees it."""

    def __init__(self, *, api_root: str = "", home: str = "/") -> None:
        self._api_root = api_root
        self._home = home.rstrip("/")
        self._bundle: Final[Bundle] = load_bundle()

    def router(self, prefix: str = "") -> APIRouter:
        """To be included under `prefix`, which `home` begins with."""
        router, place = APIRouter(include_in_schema=False), self._home.removeprefix(prefix)
        router.add_api_route(place or "/", self.page, methods=["GET", "HEAD"])
        router.add_api_route(place + "/assets/{version}/{path:path}", self.asset, methods=["GET", "HEAD"])
        return router

    async def page(self, request: Request) -> Response:
        """The same for everybody: who may see what is asked when the page asks for it."""
        root = request.scope.get("root_path", "").rstrip("/")
        assets = f"{root}{self._home}/assets/{self._bundle.version}"
        preload = "\n".join(f'<link rel="modulepreload" href="{html.escape(assets)}/{path}">' for path in _FIRST)
        text = self._bundle.files["index.html"].body.decode()
        values = {"api": html.escape(root + self._api_root), "assets": html.escape(assets), "preload": preload}
        for name, value in values.items():
            text = text.replace("{{" + name + "}}", value)
        return Response(text, media_type="text/html", headers={**_HEADERS, "Cache-Control": "no-cache"})

    async def asset(self, request: Request, version: str, path: str) -> Response:
        """Under the version of the bundle, so that browsers keep files for good and never mix two releases."""
        file = self._bundle.files.get(path)
        if file is None or path == "index.html":
            return Response(
                "There is no such file", HTTPStatus.NOT_FOUND, media_type="text/plain", headers=_FILE_HEADERS
            )
        is_present = version == self._bundle.version
        cache = "public, max-age=31536000, immutable" if is_present else "no-cache"
        return _answer(file, request, {**_FILE_HEADERS, "Cache-Control": cache})


def _answer(file: File, request: Request, headers: Mapping[str, str]) -> Response:
    accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")
    return Response(
        file.gzipped if accepts_gzip else file.body,
        headers={
            **headers,
            "Content-Type": file.media_type,
            "Vary": "Accept-Encoding",
            **({"Content-Encoding": "gzip"} if accepts_gzip else {}),
        },
    )


def add_dashboard(app: FastAPI, *, api_root: str = "", home: str = "/") -> None:
    """The dashboard at `home` of `app`, whose interface stands at `api_root`."""
    app.include_router(Dashboard(api_root=api_root, home=home).router())
