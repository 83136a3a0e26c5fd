"""Names that nobody may take, because a path, a role or an operator has them."""

from __future__ import annotations

# fmt: off
RESERVED = frozenset({
    "about", "account", "admin", "administrator", "api", "app", "auth", "block", "blog", "by",
    "compose", "explore", "follow", "followers", "following", "healthz", "help", "home", "i",
    "intent", "jobs", "login", "logout", "me", "media", "messages", "metrics", "murmuration",
    "mute", "notifications", "null", "oauth", "openapi", "operator", "privacy", "readyz",
    "register", "replies", "root", "search", "security", "settings", "signup", "status",
    "statuses", "support", "system", "timeline", "token", "trends", "tweet", "tweets",
    "undefined", "user", "username", "users",
})
# fmt: on
"""Case-folded."""


def is_reserved(username: str) -> bool:
    """Says whether a username is one that nobody may take."""
    return username.casefold() in RESERVED
