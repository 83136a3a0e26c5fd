"""Every setting of Murmuration: one frozen, validated object, and where each value came from.

A value is taken from the environment (`MURMUR_…`), else from the TOML file that
`MURMUR_SETTINGS_FILE` names, else, for the addresses of the engines, from the local stack's
state file, else from the default below. Nothing outside `infra` reads the environment; lower
layers receive what they need as arguments. A name that starts with `MURMUR_` and is no setting is
an error, because a misspelt setting would otherwise be a default in disguise.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict

from gateway.limits import READ_SECONDS_MAX, REDIS_SECONDS_MAX, STORE_SECONDS_MAX
from infra.stack import state

PREFIX = "MURMUR_"
SETTINGS_FILE = "MURMUR_SETTINGS_FILE"
# Read by the tests, not settings of the product.
FOREIGN_PREFIXES = ("MURMUR_TEST_",)
# Engine name in the state file -> the setting that holds its address.
ADDRESS_OF = {
    "kafka": "kafka_bootstrap",
    "valkey": "redis_url",
    "cassandra": "cassandra_hosts",
    "registry": "registry_url",
}
MASK = "********"


class SettingsError(Exception):
    """The settings do not make sense; the message names the setting and what it may be."""


class Origin(StrEnum):
    """Where a value came from, the strongest first."""

    ENV = "env"
    FILE = "file"
    STACK = "stack"
    DEFAULT = "default"


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _host_port(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"{value!r} is not host:port")
    return value


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"{value!r} is not a {' or '.join(schemes)} URL")
        return value

    return AfterValidator(check)


def _bootstrap(value: str) -> str:
    for part in value.split(","):
        _host_port(part.strip())
    return value


HostPort = Annotated[str, AfterValidator(_host_port)]
Port = Annotated[int, Field(ge=0, le=65535)]
# Topic prefixes and generations become parts of topic names, table names and Redis keys.
Generation = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
TopicPrefix = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,60}$")]


class Settings(BaseSettings):
    """Murmuration's settings. The description of each is what `murmur settings` shows."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True
    )

    data_dir: Path = Field(Path(".murmur"), description="State, logs and data of the local stack")
    engine_cache: Path | None = Field(
        None, description="Where downloaded engines are kept (default: the user's cache folder)"
    )
    maven_repository: Annotated[str, _url("http", "https")] | None = Field(
        None, description="Mirror to fetch the engines from, when the usual one is out of reach"
    )

    # Engines: an address given here is used as it is, and that engine is not started.
    kafka_bootstrap: Annotated[str, AfterValidator(_bootstrap)] = Field(
        "127.0.0.1:9092", description="Kafka, host:port[,host:port…]"
    )
    kafka_options: dict[str, str] = Field(
        {}, description="More librdkafka options as JSON, such as security.protocol"
    )
    redis_url: Annotated[str, _url("redis", "rediss")] = Field(
        "redis://127.0.0.1:6379", description="Redis or Valkey cluster, any node"
    )
    cassandra_hosts: Annotated[
        list[HostPort], NoDecode, BeforeValidator(_comma_separated), Field(min_length=1)
    ] = Field(["127.0.0.1:9042"], description="Cassandra or Scylla, host:port[,host:port…]")
    cassandra_username: str = Field("", description="Empty: no authentication")
    cassandra_password: SecretStr = Field(SecretStr(""), description="Of cassandra_username")
    registry_url: Annotated[str, _url("http", "https")] = Field(
        "http://127.0.0.1:8081/apis/ccompat/v7",
        description="Schema registry, base URL of its Confluent-compatible API",
    )

    # What the engines hold.
    site: Literal["local", "prod"] = Field(
        "local", description="Which partition counts of schemas/topics.yaml new topics get"
    )
    topic_prefix: TopicPrefix = Field("", description="Put before every topic name")
    keyspace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = Field(
        "murmuration", description="Cassandra keyspace"
    )
    generation: Generation = Field("g1", description="Generation of the read models in service")
    buckets: Annotated[int, Field(ge=1, le=16384)] = Field(
        16, description="Redis buckets; never changed within a generation (production: 64 or more)"
    )
    celebrity_threshold: PositiveInt = Field(
        1_000_000, description="Followers from which tweets are pulled at read, not pushed"
    )
    popular_threshold: PositiveInt = Field(
        10_000, description="Followers from which tweets are pushed in the background, by chunks"
    )
    tier_survey_s: PositiveFloat = Field(
        3600.0, description="Seconds between two reclassifications of the large accounts"
    )
    backlog_chunks_max: PositiveInt = Field(
        2_000, description="Fan-out chunks that may wait before celebrity_threshold is lowered"
    )
    inactive_days: PositiveInt = Field(
        30, description="Days after which nothing is pushed to somebody who was not seen"
    )
    timeline_length: PositiveInt = Field(800, description="Tweets kept in a home timeline")
    search_shards: Annotated[int, Field(ge=1, le=1_024)] = Field(
        1,
        description="Shards of the real-time search: one for each Redis node, each takes thousands "
        "of tweets a second; never changed within a generation",
    )
    search_segment_tweets: Annotated[int, Field(ge=1, le=65_535)] = Field(
        32_768, description="Tweets in one segment of a shard of the real-time search"
    )
    search_segments: Annotated[int, Field(ge=2, le=1_024)] = Field(
        16, description="Segments of a shard; with search_segment_tweets the size of its window"
    )
    search_window_hours: PositiveInt = Field(
        168, description="Hours after which a segment is dropped, by the newest tweet in its shard"
    )

    trend_slot_s: PositiveFloat = Field(
        30.0,
        description="Seconds between two looks at trends, which look back on ten times that; never "
        "changed within a generation",
    )
    trend_late_s: PositiveFloat = Field(
        30.0, description="A tweet that comes later to the log counts nothing; trends wait for it"
    )
    trend_score_min: PositiveFloat = Field(
        3.0, description="How many times above the ordinary something must be to trend"
    )
    trend_volume_min: PositiveInt = Field(
        500, description="People who must talk of it worldwide, in ten slots"
    )
    trend_place_volume_min: PositiveInt = Field(200, description="And in a country or city")
    trend_young_hours: NonNegativeFloat = Field(
        24.0, description="Accounts younger than this count a quarter of a person"
    )
    trend_never: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(
        ["love", "good morning", "good night", "happy birthday", "thank you", "nowplaying"],
        description="What never trends, without signs: evergreens and spam",
    )

    # Processes.
    gateway_host: str = Field("127.0.0.1", description="Address the gateway listens on")
    gateway_port: Port = Field(8080, description="Port the gateway listens on")
    timeline_opened_hours: PositiveFloat = Field(
        6.0, description="Hours in which a gateway process logs a user's openings once"
    )
    gateway_workers: PositiveInt = Field(1, description="Gateway processes")
    gateway_read_s: PositiveFloat = Field(
        READ_SECONDS_MAX, description="Seconds a read of the gateway may take, whatever is away"
    )
    gateway_store_s: PositiveFloat = Field(
        STORE_SECONDS_MAX, description="Seconds the gateway waits for one statement of the store"
    )
    gateway_redis_s: PositiveFloat = Field(
        REDIS_SECONDS_MAX, description="Seconds the gateway waits for one batch of Redis commands"
    )
    # Degrading (docs/degrading.md says where these numbers come from).
    degrade_auto_max: Annotated[int, Field(ge=0, le=4)] = Field(
        4, description="Highest level that is entered by measurement; 0: by `murmur degrade` alone"
    )
    degrade_loop_s: PositiveFloat = Field(
        0.1, description="Delay of a gateway's event loop that asks for level 1; twice that for 2"
    )
    degrade_under_way: PositiveFloat = Field(
        0.5, description="Share of the places for requests, likewise"
    )
    degrade_redis_s: PositiveFloat = Field(0.25, description="p99 of Redis, likewise")
    degrade_store_s: PositiveFloat = Field(0.75, description="p99 of the store, likewise")
    degrade_lag_s: PositiveFloat = Field(
        15.0, description="Lag of a unit, likewise; 4 times that for level 3, 20 times for level 4"
    )
    degrade_rise_s: PositiveFloat = Field(
        3.0, description="Seconds for which more is asked before the next higher level is entered"
    )
    degrade_hold_s: PositiveFloat = Field(
        30.0, description="Seconds for which less is asked before the next lower level is entered"
    )
    token_key_file: Path | None = Field(
        None, description="Key that signs tokens (default: token.key in data_dir)"
    )
    token_days: PositiveInt = Field(30, description="Days a token of `murmur token` is good for")
    vapid_key_file: Path | None = Field(
        None, description="Key that signs Web Push (default: vapid.pem in data_dir)"
    )
    push_contact: Annotated[str, Field(pattern=r"^(mailto:|https://)")] = Field(
        "mailto:operator@localhost", description="Whom a push service may turn to"
    )
    push_hosts: Annotated[list[str], NoDecode, BeforeValidator(_comma_separated)] = Field(
        [
            "fcm.googleapis.com",
            "updates.push.services.mozilla.com",
            "web.push.apple.com",
            ".notify.windows.com",
        ],
        description="Hosts that are pushed to, whatever endpoint a client names; .name: all below",
    )
    public_url: Annotated[str, _url("http", "https")] = Field(
        "http://127.0.0.1:8080", description="Where clients reach the gateway, for links in mails"
    )
    smtp_host: str = Field("", description="Takes the digests' mails; empty: none are sent")
    smtp_port: Port = Field(587, description="Of smtp_host")
    smtp_sender: str = Field("murmuration@localhost", description="Address that mails are from")
    smtp_username: str = Field("", description="Of smtp_host; empty: no authentication")
    smtp_password: SecretStr = Field(SecretStr(""), description="Of smtp_username")
    worker_metrics_port: Port = Field(
        0, description="First port of the workers' /metrics, one up per process; 0 chooses"
    )
    router_metrics_port: Port = Field(0, description="Port of a router's /metrics; 0: none")
    worker_grace_s: PositiveFloat = Field(
        15.0, description="Seconds a worker may take to stop before it is killed"
    )

    # The local stack's own measures.
    kafka_heap_mb: PositiveInt = Field(512, description="Heap of the local Kafka, MiB")
    cassandra_heap_mb: PositiveInt = Field(1024, description="Heap of the local Cassandra, MiB")
    registry_heap_mb: PositiveInt = Field(384, description="Heap of the local registry, MiB")
    valkey_memory_mb: PositiveInt = Field(2048, description="maxmemory of the local Valkey, MiB")
    stack_usual_ports: bool = Field(
        True, description="Take the engines' usual ports when they are free; else any free ones"
    )
    stack_ready_s: PositiveFloat = Field(
        180.0, description="Seconds the local stack may take until every engine answers"
    )

    @classmethod
    def settings_customise_sources(cls, *_args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Only what it is given: `load` has merged the sources, and remembers which is which."""
        return (kwargs["init_settings"],)

    @property
    def engine_cache_dir(self) -> Path:
        """Folder of the downloaded engines."""
        if self.engine_cache is not None:
            return self.engine_cache
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "murmuration" / "engines"

    @property
    def vapid_key_path(self) -> Path:
        """File of the key that signs Web Push."""
        return self.vapid_key_file or self.data_dir / "vapid.pem"

    @property
    def token_key_path(self) -> Path:
        """File of the token key."""
        return self.token_key_file or self.data_dir / "token.key"


@dataclass(frozen=True)
class Loaded:
    """The settings, and the origin of each by name."""

    settings: Settings
    origins: dict[str, Origin]

    def shown(self) -> dict[str, Any]:
        """Every value as JSON can carry it, secrets masked."""
        values: dict[str, Any] = self.settings.model_dump(mode="json")
        return {name: _masked(name, value) for name, value in values.items()}


def load(environ: Mapping[str, str] | None = None, **given: Any) -> Loaded:
    """Read the settings; `given` (command line options) count as environment.

    Raises SettingsError with one line that says what to change.
    """
    environ = os.environ if environ is None else environ
    _refuse_unknown(environ)
    strongest: dict[str, Any] = {**_from_env(), **given}
    file = _from_file(environ.get(SETTINGS_FILE))
    data_dir = Path(strongest.get("data_dir") or file.get("data_dir") or ".murmur")
    stack = addresses_in(data_dir)
    try:
        settings = Settings(**{**stack, **file, **strongest})
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None
    layers = ((Origin.ENV, strongest), (Origin.FILE, file), (Origin.STACK, stack))
    origins = {
        name: next((origin for origin, layer in layers if name in layer), Origin.DEFAULT)
        for name in Settings.model_fields
    }
    return Loaded(settings, origins)


def addresses_in(data_dir: Path) -> dict[str, Any]:
    """The addresses of the local stack that runs in `data_dir`, by setting; empty without one."""
    try:
        stack = state.read(data_dir)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{data_dir / state.FILE_NAME} cannot be read: {error}") from None
    if stack is None or not stack.alive():
        return {}
    return {ADDRESS_OF[engine]: at for engine, at in stack.addresses.items()}


def _from_env() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except ValueError as error:
        raise SettingsError(f"the environment: {error}") from None


def _from_file(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{SETTINGS_FILE}={path} cannot be read: {error}") from None


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {SETTINGS_FILE}
    for name in environ:
        if not name.upper().startswith(PREFIX) or name.upper().startswith(FOREIGN_PREFIXES):
            continue
        if name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, 1)
            hint = f"did you mean {near[0]}?" if near else "`murmur settings` lists them all"
            raise SettingsError(f"{name} is no setting; {hint}")


def _one_line(error: ValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        parts.append(f"{PREFIX}{name.upper()}={problem['input']!r}: {problem['msg']}")
    return "; ".join(parts)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(key, entry) for key, entry in value.items()}
    if not isinstance(value, str) or not value:
        return value
    if re.search(r"password|secret|token$|\.key$", name):
        return MASK
    # A password within a URL: scheme://user:password@host
    return re.sub(r"(?<=://)([^:/@]*):[^@/]+@", rf"\1:{MASK}@", value)
