"""What every job store has to do; see L{StoreSuite}."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from qgswps.errors import Fault, OWSError
from qgswps.interfaces import IJobStore
from qgswps.jobs.lifecycle import advance
from qgswps.model import Job, State
from tests.fakes import AsyncTestCase, makeJob

if TYPE_CHECKING:
    _Case = AsyncTestCase
else:
    _Case = object

#: A record that has no attribute at its default.
FULL = Job(
    id="full",
    processId="native:buffer",
    server="there",
    created=1234.56789,
    state=State.STARTED,
    processVersion="3.22",
    processTitle="Buffer — Puffer",
    map="France_parts",
    asynchronous=True,
    protocol="other-1.0",
    realm="r",
    timeout=10,
    expire=20,
    percent=33.3,
    message="half-way, «bald»\n\0\U0001f30d",
    faults=(Fault("NoApplicableCode", "ä", "timeout"), Fault("ServerBusy", "b")),
    started=1235.0,
    finished=1236.0,
    expires=1256.5,
    pid=42,
    signal="SIGKILL",
    peakMemory=2**40,
)


class StoreSuite(_Case):
    """
    A mixin for a C{TestCase} that says how its store is made.

    @ivar store: an open store, empty for each test.
    """

    store: Any

    def setUp(self) -> Any:
        """Open a new store."""
        self.store = self.makeStore()
        self.addCleanup(self.store.close)
        return self.store.open()

    def makeStore(self) -> Any:
        """A new store, not open yet."""
        raise NotImplementedError

    def test_interface(self) -> None:
        """It is a store."""
        verifyObject(IJobStore, self.store)

    async def test_addGet(self) -> None:
        """A record comes back as it was."""
        self.assertTrue(
            all(
                getattr(FULL, each.name) != each.default
                for each in attrs.fields(Job)
                if each.default is not attrs.NOTHING
            )
        )
        for job in (FULL, makeJob("plain")):
            await self.store.add(job)
        for job in (FULL, makeJob("plain")):
            self.assertEqual(await self.store.get(job.id), job)

    async def test_getUnknown(self) -> None:
        """There is nothing where nothing was added."""
        await self.store.add(makeJob("a"))
        for jobId in ("b", "", "A", "a%", "a' OR '1'='1"):
            self.assertIsNone(await self.store.get(jobId))

    async def test_addTwice(self) -> None:
        """A second record of an id is refused, the first one stays."""
        await self.store.add(makeJob("a"))
        with self.assertRaises(OWSError) as caught:
            await self.store.add(makeJob("a", message="second"))
        self.assertEqual(caught.exception.faults[0].code, "ServerBusy")
        self.assertEqual(caught.exception.status, 503)
        self.assertEqual(await self.store.get("a"), makeJob("a"))

    async def test_replace(self) -> None:
        """A record is replaced if it is in the state that is expected."""
        job = makeJob("a")
        await self.store.add(job)
        started = advance(job, State.STARTED, 5.0, pid=9)
        for expected in set(State) - {State.ACCEPTED}:
            self.assertIs(await self.store.replace(started, expected), False)
            self.assertEqual(await self.store.get("a"), job)
        self.assertIs(await self.store.replace(started, State.ACCEPTED), True)
        self.assertEqual(await self.store.get("a"), started)

    async def test_replaceUnknown(self) -> None:
        """A record that is gone is not made again."""
        self.assertIs(await self.store.replace(makeJob("a"), State.ACCEPTED), False)
        self.assertIsNone(await self.store.get("a"))

    async def test_replaceAtOnce(self) -> None:
        """Of several that replace a record at the same time, one succeeds."""
        await self.store.add(makeJob("a", state=State.STARTED))
        ends = [
            makeJob("a", state=state, message=str(n))
            for n, state in enumerate(
                [State.SUCCEEDED, State.FAILED, State.DISMISSED] * 5
            )
        ]
        replaced = await gatherResults(
            [self.store.replace(job, State.STARTED) for job in ends]
        )
        self.assertEqual(sum(replaced), 1)
        self.assertEqual(await self.store.get("a"), ends[replaced.index(True)])

    async def test_progress(self) -> None:
        """Progress is kept while a job runs, and only then."""
        for state in State:
            job = makeJob(state.value, state=state, percent=1.0, message="m")
            await self.store.add(job)
            await self.store.progress(job.id, 55.5, "n")
            if state is State.STARTED:
                job = attrs.evolve(job, percent=55.5, message="n")
            self.assertEqual(await self.store.get(job.id), job)
        await self.store.progress("unknown", 1.0, "m")
        self.assertIsNone(await self.store.get("unknown"))

    async def test_inOrder(self) -> None:
        """Commands take effect in the order in which they are given."""
        job = makeJob("a")
        started = advance(job, State.STARTED, 5.0)
        ended = advance(started, State.FAILED, 6.0)
        answers = await gatherResults(
            [
                self.store.add(job),
                self.store.replace(started, State.ACCEPTED),
                self.store.progress("a", 50.0, "half"),
                self.store.get("a"),
                self.store.replace(ended, State.STARTED),
                self.store.progress("a", 60.0, "late"),
                self.store.get("a"),
            ]
        )
        half = attrs.evolve(started, percent=50.0, message="half")
        self.assertEqual(answers, [None, True, None, half, True, None, ended])

    async def test_find(self) -> None:
        """Jobs are found by what they are and whose, newest first."""
        for jobId, created, state, process, server, realm in [
            ("old", 1.0, State.SUCCEEDED, "p", "x", None),
            ("new", 4.0, State.ACCEPTED, "p", "x", "r"),
            ("mid", 2.5, State.STARTED, "q", "x", "r"),
            ("other", 3.0, State.ACCEPTED, "q", "y", "s"),
        ]:
            await self.store.add(
                makeJob(
                    jobId,
                    created=created,
                    state=state,
                    processId=process,
                    server=server,
                    realm=realm,
                )
            )
        both = (State.ACCEPTED, State.STARTED)
        conditions: list[tuple[dict[str, Any], str]] = [
            ({}, "new other mid old"),
            ({"states": both}, "new other mid"),
            ({"states": iter(both), "server": "x"}, "new mid"),
            ({"states": ()}, ""),
            ({"processId": "q"}, "other mid"),
            ({"processId": "q", "server": "y"}, "other"),
            ({"processId": "nothing"}, ""),
            ({"realm": "r"}, "new mid"),
            ({"realm": "r", "states": both, "processId": "q"}, "mid"),
            ({"realm": ""}, ""),
            ({"limit": 2}, "new other"),
            ({"limit": 0}, ""),
            ({"offset": 1}, "other mid old"),
            ({"offset": 1, "limit": 2, "server": "x"}, "mid old"),
            ({"offset": 9}, ""),
        ]
        for arguments, expected in conditions:
            found = await self.store.find(**arguments)
            self.assertEqual([job.id for job in found], expected.split(), arguments)

    async def test_findProgress(self) -> None:
        """What is found has the progress that was noted."""
        await self.store.add(makeJob("a", state=State.STARTED))
        await self.store.progress("a", 12.0, "at it")
        [job] = await self.store.find()
        self.assertEqual((job.percent, job.message), (12.0, "at it"))

    async def test_remove(self) -> None:
        """A record that is removed is gone; a second time does no harm."""
        await self.store.add(makeJob("a"))
        await self.store.add(makeJob("b"))
        for _ in range(2):
            await self.store.remove("a")
            self.assertIsNone(await self.store.get("a"))
        self.assertEqual(await self.store.find(), [makeJob("b")])
