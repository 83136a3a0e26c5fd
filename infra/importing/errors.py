"""Why an import cannot go on. What concerns one item is not an error: it is skipped and counted."""

from __future__ import annotations


class ImportRefused(Exception):
    """Root: nothing more is imported; the message says what to do."""


class NotAnArchive(ImportRefused):
    """The path is no X account export, or an essential part of it is missing."""


class BrokenArchive(ImportRefused):
    """A file of the export is damaged; most often the download was cut off."""


class BehindTheLog(ImportRefused):
    """The read models do not know yet what is in the log, so what is here cannot be told."""


class NameTaken(ImportRefused):
    """The account's username belongs to somebody else here."""
