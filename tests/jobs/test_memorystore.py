"""The store that other tests use keeps to what every store has to do."""

from __future__ import annotations

from tests.fakes import AsyncTestCase, MemoryStore
from tests.jobs.storesuite import StoreSuite


class MemoryStoreTests(StoreSuite, AsyncTestCase):
    """L{MemoryStore}"""

    def makeStore(self) -> MemoryStore:
        """See L{StoreSuite}."""
        return MemoryStore()
