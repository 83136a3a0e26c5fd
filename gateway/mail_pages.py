"""The pages behind links in mails: one says what a button will do, one that it is done.

Mail programs and scanners open links on their own, so opening one changes nothing: the button
posts, as a mail program does that ends mails by itself (RFC 8058). No script, no style from
elsewhere; nothing of the link is told to other sites.
"""

from __future__ import annotations

from html import escape

from gateway.http import Response

_HEADERS = (
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
)
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
{rest}
</html>
"""


def asking(title: str, button: str) -> Response:
    """Returns a page whose button posts to where it was opened."""
    return _page(title, f'<form method="post"><button>{escape(button)}</button></form>')


def done(title: str) -> Response:
    """Returns a page that says what was done."""
    return _page(title, "")


def _page(title: str, rest: str) -> Response:
    body = _PAGE.format(title=escape(title), rest=rest)
    return Response(body.encode(), media_type="text/html; charset=utf-8", headers=_HEADERS)
