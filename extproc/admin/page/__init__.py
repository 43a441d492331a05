"""The page on the admin port: static files for a browser.

They need no build and load nothing from other hosts. The page polls ``/live``, follows ``/tap``, and writes what it
gets as text, never as markup.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The page's ``content-security-policy``: scripts, styles and data of this origin alone, and no markup made of text."""

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/page/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in (
            *("page", "dom", "colours", "text", "charts", "tables", "canary", "rollouts", "breakers", "topology"),
            *("endpoints", "requests", "traces", "services"),
        )
    },
}


def asset(path: str, accept: str) -> tuple[str, bytes] | None:
    """(content type, content) of a file of the page, or None. ``/`` is one only where ``accept`` has HTML."""
    if path not in _FILES or (path == "/" and "text/html" not in accept):
        return None
    name, content_type = _FILES[path]
    return content_type, _read(name)


@cache
def _read(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()
