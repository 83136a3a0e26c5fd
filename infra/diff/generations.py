"""Engines of one generation of a unit, on connections that are there already."""

from __future__ import annotations

from dataclasses import replace

from infra.compose import Engines
from projections.store import Store


def engines_at(on: Engines, unit: str, generation: str) -> Engines:
    """Returns the same engines with a unit's readers at a generation."""
    settings = on.settings.model_copy(update={"generation": generation})
    store = Store(on.session, settings.keyspace, generation)
    return replace(on, settings=settings, store=store)


def store_of(on: Engines, unit: str) -> Store:
    """Returns the tables of the unit's generation."""
    return on.store
