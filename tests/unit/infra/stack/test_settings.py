"""Settings: where values come from, what is refused and how, and what is never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.settings import MASK, Loaded, Origin, SettingsError, load
from infra.stack import state
from infra.stack.process import Identity


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment of whoever runs the tests nor a stack in this folder."""
    for name in os.environ:
        if name.startswith("MURMUR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def loaded(monkeypatch: pytest.MonkeyPatch, **environ: str) -> Loaded:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return load()


def running(data_dir: Path, started_off_by: int = 0) -> None:
    """A state file of a launcher that is this very process, or once had its pid."""
    me = Identity.of(os.getpid())
    assert me is not None
    addresses = {"kafka": "127.0.0.1:1234", "cassandra": "127.0.0.1:1235"}
    current = state.StackState(pid=me.pid, started=me.started + started_off_by, addresses=addresses)
    data_dir.mkdir()
    state.write(data_dir, current)


def test_default_stack_file_env_in_this_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert loaded(monkeypatch).origins["kafka_bootstrap"] is Origin.DEFAULT
    running(tmp_path / ".murmur")
    stack = load()
    assert stack.settings.kafka_bootstrap == "127.0.0.1:1234"
    assert stack.settings.cassandra_hosts == ["127.0.0.1:1235"]
    assert stack.origins["kafka_bootstrap"] is Origin.STACK
    assert stack.origins["redis_url"] is Origin.DEFAULT
    (tmp_path / "settings.toml").write_text('kafka_bootstrap = "file:1"\nbuckets = 8\n')
    file = loaded(monkeypatch, MURMUR_SETTINGS_FILE="settings.toml")
    assert file.settings.kafka_bootstrap == "file:1"
    assert file.origins["kafka_bootstrap"] is Origin.FILE
    env = loaded(monkeypatch, MURMUR_KAFKA_BOOTSTRAP="env:1,env:2")
    assert env.settings.kafka_bootstrap == "env:1,env:2"
    assert env.origins["kafka_bootstrap"] is Origin.ENV
    assert env.settings.buckets == 8
    assert load(kafka_bootstrap="option:1").settings.kafka_bootstrap == "option:1"


def test_the_addresses_of_a_dead_stack_do_not_count(tmp_path: Path) -> None:
    running(tmp_path / ".murmur", started_off_by=1)
    assert load().origins["kafka_bootstrap"] is Origin.DEFAULT


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MURMUR_KAFKA_BOTSTRAP", "a:1", "did you mean MURMUR_KAFKA_BOOTSTRAP?"),
        ("MURMUR_BUCKETS", "0", "greater than or equal to 1"),
        ("MURMUR_BUCKETS", "many", "valid integer"),
        ("MURMUR_CASSANDRA_HOSTS", "a:1,b", "'b' is not host:port"),
        ("MURMUR_KAFKA_BOOTSTRAP", "localhost", "not host:port"),
        ("MURMUR_REDIS_URL", "http://localhost", "not a redis or rediss URL"),
        ("MURMUR_GENERATION", "G 1", "should match pattern"),
        ("MURMUR_KAFKA_OPTIONS", "{not json", "kafka_options"),
        ("MURMUR_SETTINGS_FILE", "missing.toml", "cannot be read"),
    ],
)
def test_nonsense_is_refused_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(monkeypatch, **{name: value})
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_with_an_unknown_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.toml").write_text("bucket = 8\n")
    with pytest.raises(SettingsError, match="BUCKET"):
        loaded(monkeypatch, MURMUR_SETTINGS_FILE="settings.toml")


def test_they_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().settings.buckets = 3


def test_secrets_are_masked_wherever_they_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = loaded(
        monkeypatch,
        MURMUR_CASSANDRA_PASSWORD="hush-1",
        MURMUR_REDIS_URL="redis://me:hush-2@host:1",
        MURMUR_REGISTRY_URL="https://me:hush-3@host/x",
        MURMUR_KAFKA_OPTIONS='{"sasl.password": "hush-4", "sasl.username": "me"}',
    ).shown()
    assert "hush" not in str(shown)
    assert shown["cassandra_password"] == MASK
    assert shown["redis_url"] == f"redis://me:{MASK}@host:1"
    assert shown["kafka_options"] == {"sasl.password": MASK, "sasl.username": "me"}
