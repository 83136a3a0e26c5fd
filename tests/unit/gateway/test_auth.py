"""Tokens: what is accepted, what is not, and for how long it is remembered."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from gateway import auth
from gateway.auth import ALGORITHM, AUDIENCE, ISSUER, Tokens, new_private_key
from gateway.problems import Problem
from gateway.routing import Access
from tests.unit.gateway.world import KEY


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "7",
        "exp": int(time.time()) + 60,
        "scope": "read write",
    }
    claims.update(changes)
    return {name: value for name, value in claims.items() if value is not None}


def _signed(claims: dict[str, Any], key: bytes = KEY) -> str:
    imported = OKPKey.import_key(key)
    return jwt.encode({"alg": ALGORITHM}, claims, imported, algorithms=[ALGORITHM])


def test_what_is_issued_is_accepted() -> None:
    tokens = Tokens(KEY)
    assert tokens.caller(f"Bearer {tokens.issue(42)}", Access.WRITE) == 42
    assert Tokens(KEY).caller(f"bearer {tokens.issue(42)}", Access.READ) == 42


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": 1},
        {"exp": "9999999999"},
        {"iss": "somebody"},
        {"iss": None},
        {"aud": "another-api"},
        {"aud": None},
        {"sub": None},
        {"sub": "0"},
        {"sub": "-7"},
        {"sub": "9223372036854775808"},
        {"sub": "alice"},
        {"sub": 7},
        {"nbf": int(time.time()) + 86_400},
        {"scope": 7},
    ],
)
def test_claims_that_are_wrong_are_refused(changes: dict[str, Any]) -> None:
    assert Tokens(KEY).caller(f"Bearer {_signed(_claims())}", Access.READ) == 7
    with pytest.raises(Problem) as refused:
        Tokens(KEY).caller(f"Bearer {_signed(_claims(**changes))}", Access.READ)
    assert refused.value.status == 401


def test_another_key_and_other_algorithms_are_refused() -> None:
    tokens = Tokens(KEY)
    forged = [_signed(_claims(), new_private_key())]
    public = json.dumps(OKPKey.import_key(KEY).as_dict(private=False)).encode()
    hmac_key = OctKey.import_key(public)
    forged.append(jwt.encode({"alg": "HS256"}, _claims(), hmac_key, algorithms=["HS256"]))
    body = _signed(_claims()).split(".")[1]
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    forged.append(f"{none}.{body}.")
    valid = _signed(_claims())
    head, _, signature = valid.split(".")
    other = base64.urlsafe_b64encode(json.dumps(_claims(sub="8")).encode()).rstrip(b"=").decode()
    forged.append(f"{head}.{other}.{signature}")
    for token in forged:
        with pytest.raises(Problem) as refused:
            tokens.caller(f"Bearer {token}", Access.READ)
        assert refused.value.status == 401


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer " + "x" * 5_000, "Bearer é.é.é"]
)
def test_what_is_no_token_is_refused(header: str | None) -> None:
    with pytest.raises(Problem) as refused:
        Tokens(KEY).caller(header, Access.READ)
    assert refused.value.status == 401


def test_a_remembered_token_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY, lifetime_seconds=60)
    header = f"Bearer {tokens.issue(7)}"
    assert tokens.caller(header, Access.READ) == 7
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Problem) as refused:
        tokens.caller(header, Access.READ)
    assert refused.value.status == 401


def test_a_clock_behind_the_signers_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(KEY)
    header = f"Bearer {tokens.issue(7)}"
    earlier = time.time() - 3_600
    monkeypatch.setattr(time, "time", lambda: earlier)
    assert tokens.caller(header, Access.READ) == 7


def test_verified_tokens_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "TOKENS_REMEMBERED_MAX", 4)
    tokens = Tokens(KEY)
    headers = [f"Bearer {tokens.issue(user)}" for user in range(1, 10)]
    for user, header in enumerate(headers, 1):
        assert tokens.caller(header, Access.READ) == user
    verified: list[str] = []
    verify = tokens._verify

    def counted(header: str) -> auth.Caller:
        verified.append(header)
        return verify(header)

    monkeypatch.setattr(tokens, "_verify", counted)
    assert tokens.caller(headers[-1], Access.READ) == 9
    assert verified == []
    assert len(tokens._recent) + len(tokens._older) <= 4
    assert tokens.caller(headers[0], Access.READ) == 1
    assert verified == [headers[0]]


@pytest.mark.parametrize(
    "key", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_wrong_key_is_an_error_in_words(key: bytes) -> None:
    with pytest.raises(ValueError, match="Ed25519"):
        Tokens(key)
