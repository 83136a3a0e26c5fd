"""What every lease store keeps true; run for the one in memory and for Cassandra's."""

from __future__ import annotations

import asyncio

import pytest

from events.errors import NoMachineId
from events.snowflake import LeaseStore

NOW = 1_800_000_000_000
LEASE = 60_000


class LeaseSuite:
    """Subclasses give a fixture ``leases`` with two free machine ids."""

    async def test_two_holders_have_two_machine_ids_and_a_third_has_none(
        self, leases: LeaseStore
    ) -> None:
        one = await leases.claim(NOW, LEASE)
        two = await leases.claim(NOW, LEASE)
        assert one.machine != two.machine
        with pytest.raises(NoMachineId):
            await leases.claim(NOW + LEASE, LEASE)

    async def test_a_race_gives_each_machine_id_to_one(self, leases: LeaseStore) -> None:
        claims = await asyncio.gather(
            *(leases.claim(NOW, LEASE) for _ in range(6)), return_exceptions=True
        )
        held = [claim for claim in claims if not isinstance(claim, BaseException)]
        refused = [claim for claim in claims if isinstance(claim, BaseException)]
        assert len({lease.machine for lease in held}) == len(held) >= 1
        assert all(isinstance(error, NoMachineId) for error in refused)

    async def test_the_next_range_starts_above_all_that_the_former_could_use(
        self, leases: LeaseStore
    ) -> None:
        first = [await leases.claim(NOW, LEASE) for _ in range(2)]
        late = NOW + LEASE + 1
        second = [await leases.claim(late, LEASE) for _ in range(2)]
        ends = {lease.machine: lease.until_ms for lease in first}
        for lease in second:
            assert lease.from_ms > ends[lease.machine]

    async def test_the_former_holder_can_not_extend_what_was_taken(
        self, leases: LeaseStore
    ) -> None:
        first = [await leases.claim(NOW, LEASE) for _ in range(2)]
        late = NOW + LEASE + 1
        for _ in range(2):
            await leases.claim(late, LEASE)
        assert [await leases.extend(lease, late + LEASE) for lease in first] == [None, None]

    async def test_an_extension_counts(self, leases: LeaseStore) -> None:
        for _ in range(2):
            lease = await leases.claim(NOW, LEASE)
            extended = await leases.extend(lease, NOW + 5 * LEASE)
            assert extended is not None
            assert (extended.machine, extended.until_ms) == (lease.machine, NOW + 5 * LEASE)
        with pytest.raises(NoMachineId):
            await leases.claim(NOW + 3 * LEASE, LEASE)

    async def test_what_is_given_back_is_free_above_what_was_used(self, leases: LeaseStore) -> None:
        one = await leases.claim(NOW, LEASE)
        await leases.claim(NOW, LEASE)
        await leases.release(one, NOW + 10)
        with pytest.raises(NoMachineId):
            await leases.claim(NOW + 10, LEASE)
        again = await leases.claim(NOW + 11, LEASE)
        assert (again.machine, again.from_ms) == (one.machine, NOW + 11)
