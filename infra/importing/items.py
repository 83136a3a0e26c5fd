"""Single items of an X export, checked and cleaned: strings in, typed facts out.

An item that cannot be used raises `Skip` with the reason under which it is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

ID_MAX = 2**63 - 1
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_ENTITY = re.compile(r"&(amp|lt|gt|quot|#39);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "#39": "'"}
_CREATED = re.compile(
    r"[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2}) (?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d) "
    r"(?P<zone>[+-]\d{4}) (?P<year>\d{4})"
)
_RETWEET = re.compile(r"RT @\w{1,20}:")
_STATUS_URL = re.compile(
    r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/(?P<name>\w{1,20})/status/(?P<id>\d{1,19})"
)
_TAG = re.compile(r"<[^>]*>")
_NO_LANGUAGE = re.compile(r"und|zxx|art|q[a-z]{2}")
_OLD_LANGUAGES = {"in": "id", "iw": "he", "ji": "yi"}


class Skip(Exception):
    """The item is not imported; ``reason`` is what it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The owner of the export; times are milliseconds since the Unix epoch."""

    user_id: int
    username: str
    name: str
    created_at: int
    description: str = ""
    location: str = ""
    url: str = ""
    profile_image_url: str = ""


class ArchivedTweet(msgspec.Struct, frozen=True, kw_only=True):
    """A tweet of the owner.

    Attributes:
        versions: Ids of all versions of an edited tweet; empty for one that never was.
        quote_of_name: Username of the quoted author, when the quote is only known by its link.
    """

    tweet_id: int
    text: str
    created_at: int
    lang: str | None = None
    reply_to_id: int | None = None
    reply_to_user_id: int | None = None
    quote_of_id: int | None = None
    quote_of_name: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    source: str = ""
    versions: tuple[int, ...] = ()


def account(item: Any, profile: Any) -> Account:
    """Read ``account.js`` and, when there is one, ``profile.js``."""
    fields = _inner(item, "account")
    about = _inner(profile, "profile") if profile is not None else {}
    description = about.get("description")
    texts = description if isinstance(description, Mapping) else {}
    username = clean(fields.get("username"))
    if not username:
        raise Skip("account_without_username")
    return Account(
        user_id=required_id(fields.get("accountId")),
        username=username,
        name=clean(fields.get("accountDisplayName")) or username,
        created_at=time_ms(fields.get("createdAt")),
        description=clean(texts.get("bio")),
        location=clean(texts.get("location")),
        url=clean(texts.get("website")),
        profile_image_url=clean(about.get("avatarMediaUrl")),
    )


def tweet(item: Any, retweets_as_text: bool = False) -> ArchivedTweet:
    """Read one element of ``tweets.js``; older exports have it without the outer key.

    The export does not say what was retweeted: a retweet is a text that begins with ``RT @name:``,
    cut off at 140 characters. It is skipped, or kept as that text.
    """
    fields = _inner(item, "tweet")
    text = clean(fields.get("full_text", fields.get("text")))
    tweet_id = required_id(fields.get("id_str", fields.get("id")))
    if _RETWEET.match(text) and not retweets_as_text:
        raise Skip("retweet_without_original")
    if not text:
        raise Skip("tweet_without_text")
    reply_to_id = optional_id(fields, "in_reply_to_status_id")
    quote_of_id, quote_of_name = _quoted(fields)
    latitude, longitude = _place(fields)
    return ArchivedTweet(
        tweet_id=tweet_id,
        text=text,
        created_at=time_ms(fields.get("created_at")),
        lang=_language(fields.get("lang")),
        reply_to_id=reply_to_id,
        # Addressed to somebody, but an answer to no tweet: a mention, as on X.
        reply_to_user_id=optional_id(fields, "in_reply_to_user_id") if reply_to_id else None,
        quote_of_id=quote_of_id,
        quote_of_name=quote_of_name,
        latitude=latitude,
        longitude=longitude,
        source=_TAG.sub("", clean(fields.get("source"))).strip(),
        versions=_versions(fields),
    )


def other_account(item: Any, key: str) -> int:
    """The other account's id in an element of follower, following, block or mute."""
    return required_id(_inner(item, key).get("accountId"))


def liked_tweet(item: Any) -> int:
    """The tweet's id in an element of ``like.js``."""
    return required_id(_inner(item, "like").get("tweetId"))


def clean(value: Any) -> str:
    """Text as its author typed it: entities undone once, lone surrogates and NULs replaced."""
    if not isinstance(value, str):
        return ""
    text = _ENTITY.sub(lambda match: _ENTITIES[match[1]], value) if "&" in value else value
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def required_id(value: Any) -> int:
    """An id, which exports hold as a string."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= ID_MAX:
        return value
    raise Skip("bad_id")


def optional_id(fields: Mapping[str, Any], name: str) -> int | None:
    """An id under ``<name>_str`` or ``<name>``; None when absent or no id."""
    value = fields.get(f"{name}_str", fields.get(name))
    try:
        return None if value is None else required_id(value)
    except Skip:
        return None


def time_ms(value: Any) -> int:
    """Milliseconds since the Unix epoch of either form that exports use."""
    text = value if isinstance(value, str) else ""
    match = _CREATED.fullmatch(text)
    try:
        if match is not None:
            month = MONTHS.index(match["month"]) + 1
            iso = f"{match['year']}-{month:02}-{match['day']}T{match['time']}{match['zone']}"
        else:
            iso = text
        when = datetime.fromisoformat(iso)
    except ValueError:
        raise Skip("bad_time") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    if since < timedelta(0):
        raise Skip("bad_time")
    return since // timedelta(milliseconds=1)


def _inner(item: Any, key: str) -> Mapping[str, Any]:
    inner = item.get(key, item) if isinstance(item, Mapping) else None
    if not isinstance(inner, Mapping):
        raise Skip("malformed")
    return inner


def _language(value: Any) -> str | None:
    if not isinstance(value, str) or not value or _NO_LANGUAGE.fullmatch(value):
        return None
    return _OLD_LANGUAGES.get(value, value)


def _quoted(fields: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """The quoted tweet: named outright, or else the last link when that leads to a tweet."""
    quoted = optional_id(fields, "quoted_status_id")
    if quoted is not None:
        return quoted, None
    entities = fields.get("entities")
    urls = entities.get("urls") if isinstance(entities, Mapping) else None
    last = urls[-1] if isinstance(urls, list) and urls else None
    link = last.get("expanded_url") if isinstance(last, Mapping) else None
    match = _STATUS_URL.match(link) if isinstance(link, str) else None
    return (int(match["id"]), match["name"]) if match else (None, None)


def _place(fields: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Degrees north and east; ``coordinates`` has longitude first, the older ``geo`` latitude."""
    for name, order in (("coordinates", -1), ("geo", 1)):
        holder = fields.get(name)
        pair = holder.get("coordinates") if isinstance(holder, Mapping) else None
        if isinstance(pair, list) and len(pair) == 2:
            try:
                latitude, longitude = (float(part) for part in pair[::order])
            except (TypeError, ValueError):
                continue
            if abs(latitude) <= 90 and abs(longitude) <= 180:
                return latitude, longitude
    return None, None


def _versions(fields: Mapping[str, Any]) -> tuple[int, ...]:
    info = fields.get("edit_info")
    if not isinstance(info, Mapping):
        return ()
    edit = info.get("edit")
    initial = edit.get("editControlInitial") if isinstance(edit, Mapping) else info.get("initial")
    ids = initial.get("editTweetIds") if isinstance(initial, Mapping) else None
    if not isinstance(ids, list) or len(ids) < 2:
        return ()
    return tuple(sorted(required_id(value) for value in ids))
