"""The key that signs tokens: made once, for its owner alone, and the same for all processes."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.routing import Access
from infra.gateway import open_tokens
from infra.settings import Settings, load


def _settings(folder: Path) -> Settings:
    return load(environ={}, data_dir=folder / "data").settings


def test_the_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    token = open_tokens(settings).issue(7)
    assert stat.S_IMODE(settings.token_key_path.stat().st_mode) == 0o600
    assert list(settings.token_key_path.parent.iterdir()) == [settings.token_key_path]
    assert open_tokens(settings).caller(f"Bearer {token}", Access.READ) == 7


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_tokens(settings), range(8)))
    token = opened[0].issue(7)
    assert {tokens.caller(f"Bearer {token}", Access.READ) for tokens in opened} == {7}


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    open_tokens(settings)
    settings.token_key_path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        open_tokens(settings)


def test_a_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    settings.token_key_path.parent.mkdir()
    settings.token_key_path.touch(mode=0o600)
    with pytest.raises(ValueError, match="Ed25519"):
        open_tokens(settings)
