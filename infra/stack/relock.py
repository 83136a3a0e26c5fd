"""Write `maven.lock` anew: resolve the engines' coordinates and hash what they resolve to.

Run as `python -m infra.stack.relock` after changing a version below; commit the lock with it.
Each root is resolved alone and the first one to name an artefact decides its version: jgo lets
the dependency management of *every* root bear on all, which would take Kafka's own client back
to the version that log4j's build happens to test with.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact as MavenArtifact
from jgo.maven import MavenContext

from infra.stack.artifacts import DOWNLOAD_TIMEOUT_S, LOCK_PATH, PARALLEL_DOWNLOADS, sha256_of

# Class path order: the first root of an engine wins.
ROOTS: dict[str, tuple[str, ...]] = {
    "kafka": (
        "org.apache.kafka:kafka_2.13:4.1.2",
        # Kafka logs through slf4j 1.7 and brings log4j but no binding between them.
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
    ),
    "cassandra": ("org.apache.cassandra:cassandra-all:5.0.9",),
}
# Whole archives, taken as they are: group, name, version, classifier, packaging.
ARCHIVES: dict[str, tuple[str, str, str, str, str]] = {
    "registry": ("io.apicurio", "apicurio-registry-app", "3.0.9", "all", "tar.gz"),
}
# Native libraries for systems that the launcher does not run on, and tools that nothing starts.
EXCLUDED_CLASSIFIERS = ("osx-", "windows-", "linux-riscv64")
EXCLUDED_NAMES = frozenset(
    {
        "netty-resolver-dns-native-macos",
        "netty-transport-native-kqueue",
        "scala-reflect",
    }
)


def _resolve(context: MavenContext, roots: tuple[str, ...]) -> list[MavenArtifact]:
    chosen: dict[tuple[str, str, str], MavenArtifact] = {}
    for root in roots:
        inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
        for dependency in inputs + transitive:
            artifact = dependency.artifact
            key = (artifact.groupId, artifact.artifactId, artifact.classifier)
            if artifact.artifactId in EXCLUDED_NAMES:
                continue
            if artifact.classifier.startswith(EXCLUDED_CLASSIFIERS):
                continue
            chosen.setdefault(key, artifact)
    return list(chosen.values())


def _entry(artifact: MavenArtifact) -> str:
    path = Path(artifact.resolve())
    key = ":".join(
        (
            artifact.groupId,
            artifact.artifactId,
            artifact.packaging,
            artifact.classifier,
            artifact.version,
        )
    )
    return f'"{key}" = {{ size = {path.stat().st_size}, sha256 = "{sha256_of(path)}" }}\n'


def main() -> None:
    """Resolve, fetch into a temporary folder, hash, write."""
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=DOWNLOAD_TIMEOUT_S)
        engines = {engine: _resolve(context, roots) for engine, roots in ROOTS.items()}
        for engine, (group, name, version, classifier, packaging) in ARCHIVES.items():
            component = context.project(group, name).at_version(version)
            engines[engine] = [component.artifact(classifier, packaging)]
        text = "# By `python -m infra.stack.relock`: group:name:packaging:classifier:version.\n"
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            for engine, artifacts in engines.items():
                text += f"\n[{engine}]\n" + "".join(pool.map(_entry, artifacts))
        LOCK_PATH.write_text(text)


if __name__ == "__main__":
    main()
