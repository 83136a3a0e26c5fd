"""The schema registry, over its Confluent-compatible HTTP API (version 7).

Keeps true: every published schema is registered under ``<topic>-murmuration.<Event>`` (the subject
name strategy ``TopicRecordNameStrategy``) with BACKWARD_TRANSITIVE compatibility, and registering
again changes nothing. Subjects carry logical topic names: a prefix for tests does not make new
schemas.

Bounded: ``REQUESTS_AT_ONCE_MAX`` requests at a time; each waits as long as the client that is
    passed in allows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from events.errors import RegistryUnavailable, SchemaRefused
from schemas import catalog
from schemas.catalog import NAMESPACE, AvroSchema, SchemaFile
from schemas.compat import incompatibilities

COMPATIBILITY = "BACKWARD_TRANSITIVE"
REQUESTS_AT_ONCE_MAX = 8

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class Registry:
    """One registry.

    Args:
        url: Base address of the API, such as ``http://localhost:8081/apis/ccompat/v7``.
        client: The HTTP client; its time limits hold for each request. The caller closes it.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client
        self._requests = asyncio.Semaphore(REQUESTS_AT_ONCE_MAX)

    async def publish(self) -> dict[str, int]:
        """Register every published schema that is not registered yet.

        Returns:
            Id of each event's newest schema, by event name.

        Raises:
            RegistryUnavailable: The registry is away.
            SchemaRefused: It holds a schema that ours cannot read; the error names the field.
        """
        named = [
            (f"{topic.name}-{NAMESPACE}.{event}", catalog.schemas()[event])
            for topic in catalog.topics().values()
            for event in topic.events
        ]
        ids = await asyncio.gather(*(self._publish(subject, files) for subject, files in named))
        return {files[-1].name: found for (_, files), found in zip(named, ids, strict=True)}

    async def register(self, subject: str, schema: AvroSchema) -> int:
        """Register one schema under a subject, with our compatibility.

        Several processes may do so at once: one that comes second finds what the first made.

        Returns:
            The schema's id; the same one when it was registered before.

        Raises:
            RegistryUnavailable: The registry is away.
            SchemaRefused: An older version under this subject is not readable with it.
        """
        known = await self._known(subject, schema)
        if known is not None:
            return known
        rule = ("PUT", f"/config/{subject}", {"compatibility": COMPATIBILITY})
        configured = await self._send(*rule)
        if configured.status_code == httpx.codes.CONFLICT:
            # Apicurio makes or updates the rule, and another process made it in between.
            configured = await self._send(*rule)
        _answer(configured)
        added = await self._send("POST", f"/subjects/{subject}/versions", _body(schema))
        if added.status_code in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
            known = await self._known(subject, schema)
            if known is not None:
                return known
            raise await self._refused(subject, schema, added)
        return int(_answer(added)["id"])

    async def _known(self, subject: str, schema: AvroSchema) -> int | None:
        """The schema's id when it is registered under the subject."""
        found = await self._call("POST", f"/subjects/{subject}", _body(schema), absent_ok=True)
        return None if found is None else int(found["id"])

    async def schema_of(self, schema_id: int) -> AvroSchema | None:
        """The schema of an id; ``None`` when the registry knows no such id.

        Raises:
            RegistryUnavailable: The registry is away.
        """
        found = await self._call("GET", f"/schemas/ids/{schema_id}", absent_ok=True)
        if found is None:
            return None
        kind = found.get("schemaType", "AVRO")
        return _parsed(found["schema"]) if kind == "AVRO" else {"type": kind}

    async def compatibility_of(self, subject: str) -> str:
        """The compatibility that the registry enforces for a subject."""
        config = await self._call("GET", f"/config/{subject}")
        return str(config["compatibilityLevel"])

    async def _publish(self, subject: str, files: Iterable[SchemaFile]) -> int:
        schema_id = 0
        for file in files:
            schema_id = await self.register(subject, file.schema)
        return schema_id

    async def _refused(
        self, subject: str, schema: AvroSchema, answer: httpx.Response
    ) -> SchemaRefused:
        for version in await self._call("GET", f"/subjects/{subject}/versions"):
            held = await self._call("GET", f"/subjects/{subject}/versions/{version}")
            for found in incompatibilities(schema, _parsed(held["schema"])):
                return SchemaRefused(
                    subject, f"cannot read version {version}: {found}", found.field
                )
        return SchemaRefused(subject, answer.text[:500])

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, str] | None = None,
        *,
        absent_ok: bool = False,
    ) -> Any:
        answer = await self._send(method, path, body)
        if absent_ok and answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return _answer(answer)

    async def _send(
        self, method: str, path: str, body: Mapping[str, str] | None = None
    ) -> httpx.Response:
        headers = {"Accept": _MEDIA_TYPE}
        content = None
        if body is not None:
            headers["Content-Type"] = _MEDIA_TYPE
            content = json.dumps(body).encode()
        try:
            async with self._requests:
                return await self._client.request(
                    method, self._url + path, content=content, headers=headers
                )
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"schema registry at {self._url}: {error!r}") from error


def _body(schema: AvroSchema) -> dict[str, str]:
    return {"schema": json.dumps(schema, ensure_ascii=False), "schemaType": "AVRO"}


def _parsed(text: str) -> AvroSchema:
    schema = json.loads(text)
    return schema if isinstance(schema, dict) else {"type": schema}


def _answer(answer: httpx.Response) -> Any:
    """The JSON body of a good answer; anything else means that the registry cannot serve."""
    if not answer.is_success:
        where = f"{answer.request.method} {answer.request.url}"
        raise RegistryUnavailable(f"{where}: {answer.status_code}: {answer.text[:300]}")
    try:
        return answer.json()
    except ValueError as error:
        raise RegistryUnavailable(f"{answer.request.url}: not JSON: {answer.text[:100]}") from error
