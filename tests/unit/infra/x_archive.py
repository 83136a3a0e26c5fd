"""Hand-made X account exports, as folders and zips, with the oddities that real ones have."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

OWNER = 1_234_567
CREATED = "Wed Oct 10 20:19:24 +0000 2018"


def tweet(tweet_id: int, text: str, **fields: Any) -> dict[str, Any]:
    """One element of tweets.js."""
    return {
        "tweet": {
            "id_str": str(tweet_id),
            "id": str(tweet_id),
            "full_text": text,
            "created_at": CREATED,
            "lang": "en",
            "source": '<a href="https://example.com" rel="nofollow">Phone &amp; Co</a>',
            "retweeted": False,
            "favorite_count": "3",
            "entities": {"urls": [], "user_mentions": [], "hashtags": []},
            **fields,
        }
    }


def script(name: str, part: int, items: list[Any]) -> str:
    """A data file's text."""
    body = json.dumps(items, ensure_ascii=False, indent=2)
    return f"window.YTD.{name}.part{part} = {body}"


def account_files(username: str = "Ann_Example") -> dict[str, str | bytes]:
    """What every export has."""
    return {
        "data/account.js": script(
            "account",
            0,
            [
                {
                    "account": {
                        "email": "ann@example.com",
                        "createdVia": "web",
                        "username": username,
                        "accountId": str(OWNER),
                        "createdAt": "2009-05-01T12:00:00.123Z",
                        "accountDisplayName": "Ann &amp; Co",
                    }
                }
            ],
        ),
        "data/profile.js": script(
            "profile",
            0,
            [
                {
                    "profile": {
                        "description": {
                            "bio": "I &lt;3 birds",
                            "website": "https://example.com",
                            "location": "Ulm",
                        },
                        "avatarMediaUrl": "https://example.com/a.jpg",
                    }
                }
            ],
        ),
        "data/manifest.js": 'window.__THAR_CONFIG = {"userInfo": {}}',
        "Your archive.html": "<html></html>",
    }


def others(name: str, key: str, ids: list[int]) -> str:
    """A follower.js, following.js, block.js or mute.js."""
    return script(name, 0, [{key: {"accountId": str(i), "userLink": "x"}} for i in ids])


def folder(path: Path, files: dict[str, str | bytes]) -> Path:
    """Write an unpacked export."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(path: Path, files: dict[str, str | bytes], inside: str = "") -> Path:
    """Write an export as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(inside + name, content)
    return path
