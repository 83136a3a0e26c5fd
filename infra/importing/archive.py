"""An X account export as people download it: a zip or its unpacked folder, read as a stream.

Each data file is JavaScript: ``window.YTD.tweets.part0 = [ {...}, ... ]``. Files are found by name
wherever the export's ``data`` folder lies; a kind of data may be split (``tweets.js``,
``tweets-part1.js``, ...) and carries the older name ``tweet.js`` in exports before 2022.

Bounds: one object of at most `OBJECT_CHARS_MAX` and one chunk are held at a time, whatever the size
of the file. Nothing is unpacked to disk.
"""

from __future__ import annotations

import codecs
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from infra.importing.errors import BrokenArchive, NotAnArchive

CHUNK_BYTES = 1 << 18
OBJECT_CHARS_MAX = 1 << 24
PREFIX_CHARS_MAX = 4096

NAMES: dict[str, tuple[str, ...]] = {
    "account": ("account",),
    "profile": ("profile",),
    "tweets": ("tweets", "tweet"),
    "follower": ("follower",),
    "following": ("following",),
    "like": ("like",),
    "block": ("block",),
    "mute": ("mute",),
}
"""Kinds of data that are imported, with the file names that they have had."""

_PART = re.compile(r"(?P<stem>[a-z][a-z-]*?)(?:-part(?P<part>[0-9]+))?\.js")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SPACE_AND_COMMA = re.compile(r"[\s,]*")
_STRICT = json.JSONDecoder(strict=False)  # old exports hold raw control characters in strings


class Archive(AbstractContextManager["Archive"]):
    """An opened export.

    Raises:
        NotAnArchive: The path does not exist, or holds no ``account.js`` of an export.
    """

    def __init__(self, path: Path) -> None:
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, str] = {}
        self._paths: dict[str, Path] = {}
        if path.is_dir():
            self._paths = {p.relative_to(path).as_posix(): p for p in path.rglob("*.js")}
        else:
            self._zip = _open_zip(path)
            # Some tools zip with the separators of Windows.
            self._members = {name.replace("\\", "/"): name for name in self._zip.namelist()}
        self._files = _find([*self._paths, *self._members])
        if "account" not in self._files:
            self.close()
            raise NotAnArchive(
                f"{path} holds no data/account.js; give the zip that X let you download, "
                "or the folder that it unpacks to"
            )

    def files(self, kind: str) -> list[str]:
        """Names of the files of a kind of data, in the order of their parts."""
        return self._files.get(kind, [])

    def items(self, kind: str) -> Iterator[Any]:
        """Every element of every file of a kind, in order.

        Raises:
            BrokenArchive: A file ends early or is not what an export holds.
        """
        for name in self.files(kind):
            try:
                with self._open(name) as file:
                    yield from _elements(file, name)
            except (zipfile.BadZipFile, EOFError, OSError) as error:
                raise BrokenArchive(f"{name} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the zip, if it is one."""
        if self._zip is not None:
            self._zip.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, name: str) -> IO[bytes]:
        if self._zip is not None:
            try:
                return self._zip.open(self._members[name])
            except RuntimeError as error:  # what zipfile raises for an encrypted member
                raise BrokenArchive(f"{name} is encrypted; unpack the zip first") from error
        return self._paths[name].open("rb")


def _open_zip(path: Path) -> zipfile.ZipFile:
    if not path.exists():
        raise NotAnArchive(f"{path} does not exist")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise NotAnArchive(f"{path} is neither a folder nor a whole zip: {error}") from error


def _find(names: list[str]) -> dict[str, list[str]]:
    """Files by kind; the shallowest account.js says where the data lie."""
    accounts = [name for name in names if name.rsplit("/", 1)[-1] == "account.js"]
    if not accounts:
        return {}
    home = min(accounts, key=lambda name: (name.count("/"), name)).removesuffix("account.js")
    parts: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = _PART.fullmatch(name.removeprefix(home)) if name.startswith(home) else None
        if match is not None:
            parts.setdefault(match["stem"], []).append((int(match["part"] or 0), name))
    found: dict[str, list[str]] = {}
    for kind, stems in NAMES.items():
        stem = next((stem for stem in stems if stem in parts), None)
        if stem is not None:
            found[kind] = [name for _, name in sorted(parts[stem])]
    return found


def _decoded(file: IO[bytes]) -> Iterator[str]:
    """The file's text in chunks; bytes that are no text become U+FFFD, as a browser shows them."""
    chunk = file.read(CHUNK_BYTES)
    encoding = "utf-8"
    for bom, name in _BOMS:
        if chunk.startswith(bom):
            chunk, encoding = chunk[len(bom) :], name
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    while chunk:
        yield decoder.decode(chunk)
        chunk = file.read(CHUNK_BYTES)
    yield decoder.decode(b"", final=True)


def _elements(file: IO[bytes], name: str) -> Iterator[Any]:
    """Elements of the one array in a data file, decoded one by one."""
    chunks = _decoded(file)
    text = ""
    while "[" not in text:
        chunk = next(chunks, None)
        if chunk is None or len(text) > PREFIX_CHARS_MAX:
            raise BrokenArchive(f"{name} holds no list; download the export again")
        text += chunk
    place = text.index("[") + 1
    while True:
        place = _next_element(text, place)
        if text.startswith("]", place):
            return
        try:
            element, end = _STRICT.raw_decode(text, place)
        except json.JSONDecodeError as error:
            chunk = next(chunks, None)
            if chunk is None or len(text) - place > OBJECT_CHARS_MAX:
                raise BrokenArchive(
                    f"{name} ends early or is damaged ({error.msg}); download the export again"
                ) from error
            text, place = text[place:] + chunk, 0
            continue
        yield element
        place = end


def _next_element(text: str, place: int) -> int:
    match = _SPACE_AND_COMMA.match(text, place)
    return match.end() if match else place
