"""Apache Cassandra, one node, in the place of ScyllaDB: same CQL, same driver.

Keeps true: what was acknowledged is in the commit log and synced before the answer leaves
(`commitlog_sync: batch`), so a killed node loses nothing; decision 0007 has the price. Limits that
differ from Cassandra's defaults are ScyllaDB's (batch sizes), so that what works here works there.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from cassandra import DriverException
from cassandra.cluster import Cluster, NoHostAvailable

from infra.stack.engines.base import (
    LOOPBACK,
    PROBE_TIMEOUT_S,
    Command,
    NotReadyError,
    Place,
    java,
)

CONFIG = """\
cluster_name: murmuration
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
dynamic_snitch: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{host}:{storage_port}"
listen_address: {host}
storage_port: {storage_port}
rpc_address: {host}
native_transport_port: {port}
start_native_transport: true
auto_bootstrap: false
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
hinted_handoff_enabled: false
auto_snapshot: false
incremental_backups: false
snapshot_before_compaction: false

data_file_directories: ["{data}/data"]
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc_raw

# Synced before the answer; writes that wait for the same fsync share it.
commitlog_sync: batch
commitlog_segment_size: 16MiB
commitlog_total_space: 512MiB
# A node that cannot write ends and is started again; one that "stops" would live on, deaf.
disk_failure_policy: die
commit_failure_policy: die

storage_compatibility_mode: NONE
sstable:
  selected_format: bti
memtable:
  configurations:
    skiplist:
      class_name: SkipListMemtable
    trie:
      class_name: TrieMemtable
    default:
      inherits: trie
memtable_allocation_type: offheap_objects
memtable_heap_space: 128MiB
memtable_offheap_space: 256MiB
memtable_flush_writers: 1
file_cache_size: 64MiB
key_cache_size: 0MiB
counter_cache_size: 0MiB
concurrent_reads: 16
# A write holds its thread until it is synced, so this is how many share one fsync at most.
concurrent_writes: 128
concurrent_compactors: 1
compaction_throughput: 32MiB/s
column_index_size: 4KiB

read_request_timeout: 5s
range_request_timeout: 10s
write_request_timeout: 5s

# ScyllaDB's limits for one batch; grouping writes by partition is how we are fast.
batch_size_warn_threshold: 128KiB
batch_size_fail_threshold: 1024KiB
unlogged_batch_across_partitions_warn_threshold: 10000
"""
LOGBACK = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{0}: %msg%n%ex{6}</pattern></encoder>
  </appender>
  <logger name="org.apache.cassandra.service.StartupChecks" level="ERROR"/>
  <logger name="org.apache.cassandra.utils.NativeLibrary" level="ERROR"/>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""
# From Cassandra's own conf/jvm17-server.options: what it needs of the module system.
MODULE_FLAGS = (
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    *(
        f"--add-exports={name}=ALL-UNNAMED"
        for name in (
            "java.base/jdk.internal.misc",
            "java.base/java.lang.ref",
            "java.management.rmi/com.sun.jmx.remote.internal.rmi",
            "java.rmi/sun.rmi.registry",
            "java.rmi/sun.rmi.server",
            "java.sql/java.sql",
            "jdk.attach/sun.tools.attach",
            "jdk.unsupported/sun.misc",
        )
    ),
    *(
        f"--add-opens={name}=ALL-UNNAMED"
        for name in (
            "java.base/java.io",
            "java.base/java.lang",
            "java.base/java.lang.module",
            "java.base/java.lang.reflect",
            "java.base/java.util",
            "java.base/jdk.internal.loader",
            "java.base/jdk.internal.math",
            "java.base/jdk.internal.module",
            "java.base/jdk.internal.ref",
            "java.base/jdk.internal.reflect",
            "java.base/jdk.internal.util.jar",
            "java.base/sun.nio.ch",
            "jdk.management/com.sun.management.internal",
        )
    ),
)
# A node that is its own whole cluster has nobody to wait for.
ALONE_FLAGS = (
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=0",
    "-Dcassandra.superuser_setup_delay_ms=-1",
    "-Dcassandra.initial_token=0",
)


class Cassandra:
    """The store."""

    name = "cassandra"
    title = "Apache Cassandra"
    ports: ClassVar[dict[str, int]] = {"client": 9042, "storage": 7000}
    # The JVM writes none while a Java agent is loaded.
    archives_classes = False
    stop_grace_s = 30.0

    def __init__(self, heap_mb: int) -> None:
        self._heap_mb = heap_mb

    def command(self, place: Place, stack: dict[str, str]) -> Command:
        """Write cassandra.yaml and the logging configuration."""
        config = place.config / "cassandra.yaml"
        config.write_text(
            CONFIG.format(
                host=LOOPBACK,
                port=place.ports["client"],
                storage_port=place.ports["storage"],
                data=place.data,
            )
        )
        logback = place.config / "logback.xml"
        logback.write_text(LOGBACK)
        jamm = next(a for a in place.artifacts if a.name == "jamm").path(place.cache)
        return Command(
            [
                *java(self._heap_mb, "-Xss512k", "-XX:MaxDirectMemorySize=512m"),
                *place.archive.flags(),
                *MODULE_FLAGS,
                *ALONE_FLAGS,
                f"-javaagent:{jamm}",
                f"-Dlogback.configurationFile={logback}",
                f"-Dcassandra.config={config.as_uri()}",
                f"-Dcassandra.storagedir={place.data}",
                "-cp",
                place.class_path(),
                "org.apache.cassandra.service.CassandraDaemon",
            ]
        )

    async def probe(self, address: str) -> None:
        """Ask CQL for the node's release version."""
        await asyncio.to_thread(self._query, address, "SELECT release_version FROM system.local")

    def _query(self, address: str, cql: str) -> None:
        host, port = address.rsplit(":", 1)
        cluster = Cluster([host], int(port), connect_timeout=PROBE_TIMEOUT_S)
        try:
            cluster.connect().execute(cql, timeout=PROBE_TIMEOUT_S * 3)
        except (DriverException, NoHostAvailable, OSError) as error:
            raise NotReadyError(f"CQL failed: {error}") from error
        finally:
            cluster.shutdown()

    def address(self, ports: dict[str, int]) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{ports['client']}"
