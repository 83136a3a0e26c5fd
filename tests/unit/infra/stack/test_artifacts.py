"""Artefacts: nothing that does not match the lock is ever kept, and nothing is fetched twice."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.stack.artifacts import Artifact, ArtifactError, fetch, read_lock, unpacked

CONTENT = b"a jar, near enough" * 1000


class Repository(http.server.ThreadingHTTPServer):
    """A Maven repository of a few files, which counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Repository)
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Silence."""


class Told:
    """Progress, collected."""

    def __init__(self) -> None:
        self.wanted = (0, 0)
        self.received = 0
        self.done: list[str] = []

    def started(self, files: int, total_bytes: int) -> None:
        self.wanted = (files, total_bytes)

    def advanced(self, file_name: str, received_bytes: int) -> None:
        self.received += received_bytes

    def finished(self, file_name: str) -> None:
        self.done.append(file_name)


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def artifact(content: bytes, name: str = "thing", packaging: str = "jar") -> Artifact:
    digest = hashlib.sha256(content).hexdigest()
    return Artifact("org.x", name, "1.0", "", packaging, len(content), digest)


def offer(repository: Repository, one: Artifact, content: bytes) -> None:
    repository.files[f"/org/x/{one.name}/1.0/{one.file_name}"] = content


def get(repository: Repository, cache: Path, *wanted: Artifact) -> Told:
    told = Told()
    fetch(wanted, cache, repository.url, told, threading.Event())
    return told


def test_fetched_once_and_told(repository: Repository, tmp_path: Path) -> None:
    one, two = artifact(CONTENT), artifact(CONTENT[1:], "other")
    offer(repository, one, CONTENT)
    offer(repository, two, CONTENT[1:])
    told = get(repository, tmp_path, one, two)
    assert told.wanted == (2, 2 * len(CONTENT) - 1)
    assert told.received == 2 * len(CONTENT) - 1
    assert sorted(told.done) == sorted([one.file_name, two.file_name])
    assert one.path(tmp_path).read_bytes() == CONTENT
    asked = len(repository.asked)
    assert get(repository, tmp_path, one, two).wanted == (0, 0)
    assert len(repository.asked) == asked


def test_what_does_not_match_the_lock_is_refused_and_not_kept(
    repository: Repository, tmp_path: Path
) -> None:
    one = artifact(CONTENT)
    offer(repository, one, CONTENT + b"!")
    with pytest.raises(ArtifactError, match=r"org\.x:thing.*the lock says"):
        get(repository, tmp_path, one)
    assert not one.path(tmp_path).exists()
    offer(repository, one, CONTENT)
    get(repository, tmp_path, one)
    assert one.path(tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_not_there_says_what_to_do(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="MURMUR_MAVEN_REPOSITORY"):
        get(repository, tmp_path, artifact(CONTENT))


def test_a_rest_of_a_killed_run_is_not_taken_for_the_file(
    repository: Repository, tmp_path: Path
) -> None:
    one = artifact(CONTENT)
    offer(repository, one, CONTENT)
    rest = tmp_path / "incoming" / one.sha256 / "org" / "x" / one.name / "1.0" / one.file_name
    rest.parent.mkdir(parents=True)
    rest.write_bytes(CONTENT[:10])
    get(repository, tmp_path, one)
    assert one.path(tmp_path).read_bytes() == CONTENT


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("lib/a.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    one = artifact(buffer.getvalue(), packaging="tar.gz")
    one.path(tmp_path).parent.mkdir(parents=True)
    one.path(tmp_path).write_bytes(buffer.getvalue())
    folder = unpacked(one, tmp_path)
    assert (folder / "lib" / "a.txt").read_text() == "hello"
    one.path(tmp_path).unlink()
    assert unpacked(one, tmp_path) == folder


def test_the_lock_is_whole() -> None:
    lock = read_lock()
    assert set(lock) == {"kafka", "cassandra", "registry"}
    for artifacts in lock.values():
        for one in artifacts:
            assert len(bytes.fromhex(one.sha256)) == 32
            assert one.size > 0
            assert replace(one, size=1).path(Path()) == one.path(Path())
        assert len({one.file_name for one in artifacts}) == len(artifacts)
    for engine in ("kafka", "cassandra"):
        bindings = [
            a.name
            for a in lock[engine]
            if a.name in {"logback-classic", "slf4j-simple"} or a.name.startswith("log4j-slf4j")
        ]
        assert len(bindings) == 1, bindings
