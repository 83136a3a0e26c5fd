"""Lists of users: topic ``lists``."""

from __future__ import annotations

from events.kinds.base import Event, Id, Name


class ListCreated(Event, frozen=True, kw_only=True):
    """A user made a list; the first creation of a list id decides its owner."""

    list_id: Id
    user_id: Id
    name: Name
    description: str
    private: bool


class ListChanged(Event, frozen=True, kw_only=True):
    """The owner edited a list; ``None`` leaves a field as it was."""

    list_id: Id
    user_id: Id
    name: Name | None = None
    description: str | None = None
    private: bool | None = None


class ListDeleted(Event, frozen=True, kw_only=True):
    """The owner deleted a list, for good."""

    list_id: Id
    user_id: Id


class ListMemberAdded(Event, frozen=True, kw_only=True):
    """The owner of a list, ``user_id``, added ``member_id`` to it."""

    list_id: Id
    user_id: Id
    member_id: Id


class ListMemberRemoved(Event, frozen=True, kw_only=True):
    """The owner of a list, ``user_id``, removed ``member_id`` from it."""

    list_id: Id
    user_id: Id
    member_id: Id
