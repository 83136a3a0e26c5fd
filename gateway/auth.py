"""Bearer tokens: signed with Ed25519, verified on every request, remembered once verified.

Keeps true: a token is accepted only with a valid signature, issuer, audience, subject and an
``exp`` that has not passed; ``alg`` is never taken from the token alone. Remembering a token
spares the signature check (300 µs) and never its expiry. A changed key needs a new process, so
what is remembered cannot outlive it.

Bounded by ``TOKENS_REMEMBERED_MAX`` tokens of ``TOKEN_CHARACTERS_MAX`` characters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from gateway.limits import TOKEN_CHARACTERS_MAX, TOKEN_SECONDS, TOKENS_REMEMBERED_MAX
from gateway.problems import Problem, forbidden, unauthorized
from gateway.routing import ID_MAX, Access

ISSUER = "murmuration"
AUDIENCE = "murmuration-api"
ALGORITHM = "Ed25519"
"""EdDSA over Curve25519 by its fully specified name (RFC 9864, which retires the name ``EdDSA``).
"""

SCOPES = ("read", "write")
"""What a user's token is for."""

OPERATOR_SCOPES = (*SCOPES, "operate")
"""What an operator's token is for."""


def new_private_key() -> bytes:
    """Returns a fresh signing key as PKCS #8 PEM, for the operator to keep with mode 0600."""
    return OKPKey.generate_key("Ed25519").as_pem(private=True)


class Caller(msgspec.Struct, frozen=True):
    """Who a token speaks for.

    Attributes:
        user_id: The token's subject.
        scopes: What it may be used for.
        expires_at: Seconds since the Unix epoch.
    """

    user_id: int
    scopes: frozenset[str]
    expires_at: int


class Tokens:
    """Signs and verifies tokens with one key.

    Args:
        private_key: Ed25519 key as PKCS #8 PEM.
        lifetime_seconds: Life of the tokens that it issues.

    Raises:
        ValueError: not such a key.
    """

    def __init__(self, private_key: bytes, *, lifetime_seconds: int = TOKEN_SECONDS) -> None:
        self._lifetime_seconds = lifetime_seconds
        try:
            self._key = OKPKey.import_key(private_key)
        except (JoseError, ValueError) as error:
            raise ValueError("the token key is not an Ed25519 private key in PEM") from error
        if self._key.curve_name != "Ed25519" or not self._key.is_private:
            raise ValueError("the token key is not an Ed25519 private key in PEM")
        self._claims = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            exp={"essential": True},
        )
        self._recent: dict[str, Caller] = {}
        self._older: dict[str, Caller] = {}

    def issue(self, user_id: int, *, scopes: Sequence[str] = SCOPES) -> str:
        """Returns a token for a user.

        Raises:
            ValueError: an unknown scope.
        """
        if not set(scopes) <= set(OPERATOR_SCOPES):
            raise ValueError(f"scopes are {', '.join(OPERATOR_SCOPES)}")
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "iat": now,
            "exp": now + self._lifetime_seconds,
            "scope": " ".join(scopes),
        }
        return jwt.encode({"alg": ALGORITHM}, claims, self._key, algorithms=[ALGORITHM])

    def caller(self, authorization: str | None, access: Access) -> int:
        """Returns the user id that an ``Authorization`` header speaks for.

        Raises:
            Problem: 401 no token or not a valid one, 403 not for this kind of request.
        """
        if authorization is None:
            raise unauthorized("Send a token: Authorization: Bearer TOKEN.")
        caller = self._recent.get(authorization)
        if caller is None:
            caller = self._older.get(authorization) or self._verify(authorization)
            self._remember(authorization, caller)
        if caller.expires_at <= time.time():
            raise unauthorized("The token has expired. Ask for a new one.")
        if access.value not in caller.scopes:
            raise forbidden(
                "scope", f"This token lacks the scope {access.value!r}. Use another one."
            )
        return caller.user_id

    def _remember(self, authorization: str, caller: Caller) -> None:
        """Keeps two halves: a full newer one becomes the older, whose tokens are let go."""
        if len(self._recent) >= TOKENS_REMEMBERED_MAX // 2:
            self._older, self._recent = self._recent, {}
        self._recent[authorization] = caller

    def _verify(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise unauthorized("Send a token: Authorization: Bearer TOKEN.")
        try:
            claims = jwt.decode(token.strip(), self._key, algorithms=[ALGORITHM]).claims
            # Not ``iat``: a clock behind the signer's would refuse what was just signed.
            self._claims.validate({name: held for name, held in claims.items() if name != "iat"})
        except (JoseError, ValueError) as error:
            raise _refused() from error
        return _caller_of(claims)


def _caller_of(claims: dict[str, Any]) -> Caller:
    subject, scope, expires_at = claims["sub"], claims.get("scope", ""), claims["exp"]
    if not (isinstance(subject, str) and subject.isascii() and subject.isdecimal()):
        raise _refused()
    user_id = int(subject)
    if not 0 < user_id <= ID_MAX or not isinstance(scope, str):
        raise _refused()
    return Caller(user_id, frozenset(scope.split()), int(expires_at))


def _refused() -> Problem:
    return unauthorized("The token does not verify, or has expired. Ask for a new one.")
