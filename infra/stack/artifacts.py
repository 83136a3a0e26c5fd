"""The engines' Maven artefacts: what is locked, where it is kept, and how it gets here.

`maven.lock` names every file by Maven coordinates with its size and SHA-256, per engine. Nothing
runs that did not match: a file is hashed when it is fetched and only then renamed to its final
name, so a name that exists is a file that matched, and a later start downloads nothing.
Which repository the files come from is not part of the lock: jgo's default, or a mirror given in
the settings. `python -m infra.stack.relock` writes the lock anew.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LOCK_PATH = Path(__file__).with_name("maven.lock")
PARALLEL_DOWNLOADS = 6
DOWNLOAD_ATTEMPTS_MAX = 3
DOWNLOAD_TIMEOUT_S = 60


class ArtifactError(Exception):
    """An artefact could not be fetched, or is not the one that was locked."""


class Progress(Protocol):
    """Told how a download gets on; called from several threads."""

    def started(self, files: int, total_bytes: int) -> None:
        """`files` have to be fetched, `total_bytes` together."""

    def advanced(self, file_name: str, received_bytes: int) -> None:
        """`received_bytes` more have come of `file_name` (negative: given up, starts again)."""

    def finished(self, file_name: str) -> None:
        """`file_name` is here and matches the lock."""


@dataclass(frozen=True)
class Artifact:
    """One file of the lock: Maven coordinates, size in bytes, and what it must hash to."""

    group: str
    name: str
    version: str
    classifier: str
    packaging: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The file's name in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{classifier}.{self.packaging}"

    @property
    def coordinates(self) -> str:
        """`group:name:packaging:classifier:version`, the key in the lock."""
        return f"{self.group}:{self.name}:{self.packaging}:{self.classifier}:{self.version}"

    def path(self, cache: Path) -> Path:
        """Where the verified file lies under `cache`."""
        return cache / "maven" / f"{self.sha256[:12]}-{self.file_name}"


def read_lock(path: Path = LOCK_PATH) -> dict[str, list[Artifact]]:
    """The lock: engine name -> its artefacts, in class path order."""
    lock = tomllib.loads(path.read_text())
    return {
        engine: [_parse(key, entry["size"], entry["sha256"]) for key, entry in entries.items()]
        for engine, entries in lock.items()
    }


def _parse(coordinates: str, size: int, sha256: str) -> Artifact:
    group, name, packaging, classifier, version = coordinates.split(":")
    return Artifact(group, name, version, classifier, packaging, size, sha256)


def fetch(
    artifacts: Iterable[Artifact],
    cache: Path,
    repository: str | None,
    progress: Progress,
    stop: threading.Event,
) -> None:
    """Make every artefact be in `cache`, verified; those that are, cost nothing.

    Blocks; setting `stop` ends it within a network chunk. Raises ArtifactError at the first file
    that cannot be had or does not match.
    """
    missing = {a.path(cache): a for a in artifacts if not a.path(cache).exists()}
    if not missing:
        return
    (cache / "maven").mkdir(parents=True, exist_ok=True)
    progress.started(len(missing), sum(a.size for a in missing.values()))
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        jobs = [
            pool.submit(_fetch_one, a, cache, repository, progress, stop)
            for a in sorted(missing.values(), key=lambda a: -a.size)
        ]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Stopped(Exception):
    """Another download failed; this one has no use any more."""


def _fetch_one(
    artifact: Artifact,
    cache: Path,
    repository: str | None,
    progress: Progress,
    stop: threading.Event,
) -> None:
    received = 0

    def advanced(count: int) -> None:
        nonlocal received
        if stop.is_set():
            raise _Stopped
        received += count
        progress.advanced(artifact.file_name, count)

    # A folder of its own per file: jgo writes to the final name as it goes, so a half file of a
    # killed run must never be taken for a whole one.
    work = cache / "incoming" / artifact.sha256
    failure: Exception | None = None
    for _ in range(DOWNLOAD_ATTEMPTS_MAX):
        shutil.rmtree(work, ignore_errors=True)
        try:
            _download(artifact, work, repository, advanced).replace(artifact.path(cache))
        except (OSError, RuntimeError, ArtifactError) as error:
            failure = error
            progress.advanced(artifact.file_name, -received)
            received = 0
        else:
            progress.finished(artifact.file_name)
            return
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise ArtifactError(
        f"could not fetch {artifact.coordinates}: {failure}. Check the network, or set "
        "MURMUR_MAVEN_REPOSITORY to a mirror you can reach"
    ) from failure


def _download(
    artifact: Artifact, work: Path, repository: str | None, advanced: Callable[[int], None]
) -> Path:
    # A second of imports that only a first start needs.
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    @contextmanager
    def report(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield advanced

    context = MavenContext(
        resolver=PythonResolver(progress_callback=report),
        repo_cache=work,
        remote_repos={"mirror": repository} if repository else None,
        timeout=DOWNLOAD_TIMEOUT_S,
    )
    component = context.project(artifact.group, artifact.name).at_version(artifact.version)
    path = Path(component.artifact(artifact.classifier, artifact.packaging).resolve())
    digest = sha256_of(path)
    if digest != artifact.sha256:
        raise ArtifactError(f"hash is {digest}, the lock says {artifact.sha256}")
    return path


def sha256_of(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked(artifact: Artifact, cache: Path) -> Path:
    """The folder with the contents of a `tar.gz` artefact, unpacked once."""
    target = cache / "unpacked" / f"{artifact.name}-{artifact.version}-{artifact.sha256[:12]}"
    if target.exists():
        return target
    partial = target.with_name(f"{target.name}.{threading.get_native_id()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(artifact.path(cache)) as archive:
        # Python 3.11.0 to 3.11.3 have no filters; the archive is one that the lock vouches for.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        archive.extractall(partial)
    try:
        partial.rename(target)
    except OSError:
        # Another launcher was first; its copy is the same.
        shutil.rmtree(partial)
    return target
