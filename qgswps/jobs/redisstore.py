"""
The store that several servers may share: a Redis server.

Below a prefix there are

  - C{schema}: the version of all that follows
  - C{job:ID}: a hash for each job
  - C{jobs}, C{state:STATE}, C{process:ID}, C{server:NAME}, C{realm:NAME}: the
    ids of jobs in the order of time, all of them and by what is asked for
  - C{expires}: the ids of jobs in the order in which they are to go

A job and its places in these are changed by one script, and so at once.

txredisapi speaks the protocol.  The connection is made here, because its own
gives up for ever when Redis refuses a login once, which it also does while it
has too many clients.  This module must not be imported before the reactor is
chosen: txredisapi imports it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import attrs
import txredisapi
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from qgswps import codec
from qgswps.errors import OWSError, StoreError, storeFailed
from qgswps.interfaces import IJobStore
from qgswps.journal import Logger
from qgswps.model import Job, State

log = Logger()

T = TypeVar("T")

#: Version of what is below the prefix.
SCHEMA_VERSION = 1

#: The shortest and the longest time between tries to connect, in seconds.
FIRST_DELAY = 0.1
LONGEST_DELAY = 2.0

#: So many records come in one answer; more would keep Redis from its other
#: clients, and us from ours.
PAGE = 500

#: Seconds after which what has expired goes even if its own server, which is
#: to remove it, has never come back.
ABANDONED = 86400.0


@attrs.frozen
class Script:
    """A script, and the name under which Redis knows it once it is loaded."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        """The script of a text, below what all of them use."""
        text = _COMMON + text
        return cls(text, hashlib.sha1(text.encode()).hexdigest())


_COMMON = """
local p = KEYS[1]

local function jobKey(id) return p .. 'job:' .. id end

local function forget(id)
  local indexes = redis.call('HGET', jobKey(id), 'indexes')
  if indexes then
    for _, index in ipairs(cjson.decode(indexes)) do
      redis.call('ZREM', p .. index, id)
    end
  end
  redis.call('ZREM', p .. 'expires', id)
  redis.call('DEL', jobKey(id))
end

local function keep(id, record, state, percent, message, created, expires, ...)
  redis.call('HSET', jobKey(id), 'record', record, 'state', state, 'percent', percent,
             'message', message, 'indexes', cjson.encode({...}))
  for _, index in ipairs({...}) do redis.call('ZADD', p .. index, created, id) end
  if expires ~= '' then redis.call('ZADD', p .. 'expires', expires, id) end
end
"""

#: id, time before which what expired is abandoned, then as L{_fields}.
_ADD = Script.of("""
if redis.call('EXISTS', jobKey(ARGV[1])) == 1 then return 0 end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'expires', '-inf',
                               ARGV[2], 'LIMIT', 0, 10)) do
  forget(id)
end
keep(ARGV[1], unpack(ARGV, 3))
return 1
""")

#: id, the state expected, then as L{_fields}.
_REPLACE = Script.of("""
if redis.call('HGET', jobKey(ARGV[1]), 'state') ~= ARGV[2] then return 0 end
forget(ARGV[1])
keep(ARGV[1], unpack(ARGV, 3))
return 1
""")

#: id, percent, message, the state in which progress is noted.
_PROGRESS = Script.of("""
if redis.call('HGET', jobKey(ARGV[1]), 'state') == ARGV[4] then
  redis.call('HSET', jobKey(ARGV[1]), 'percent', ARGV[2], 'message', ARGV[3])
end
return 1
""")

#: id.
_REMOVE = Script.of("forget(ARGV[1])\nreturn 1\n")

#: Offset, limit or -1, how many records to give with the ids, then for each
#: condition the number of indexes of which one has to have the job, and these.
#: Gives the ids and, of as many of them as was said, the records.
_FIND = Script.of("""
local offset, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local groups = {{p .. 'jobs'}}
local at = 4
while ARGV[at] do
  local group = {}
  for i = at + 1, at + tonumber(ARGV[at]) do group[#group + 1] = p .. ARGV[i] end
  groups[#groups + 1] = group
  at = at + #group + 1
end

-- Walk along the condition that the fewest jobs meet, and test the others.
local best, cost
for number, group in ipairs(groups) do
  local sum = 0
  for _, key in ipairs(group) do sum = sum + redis.call('ZCARD', key) end
  if not cost or sum < cost then best, cost = number, sum end
end
local function meetsOthers(id)
  for number, group in ipairs(groups) do
    if number ~= best and number ~= 1 then
      local found = false
      for _, key in ipairs(group) do
        found = found or redis.call('ZSCORE', key, id)
      end
      if not found then return false end
    end
  end
  return true
end

local ids, seen = {}, 0
local function isFull() return limit >= 0 and #ids >= limit end
local function look(id)
  if meetsOthers(id) then
    seen = seen + 1
    if seen > offset then ids[#ids + 1] = id end
  end
end
local walk = groups[best]
if #walk == 1 then
  local start = 0
  while start < cost and not isFull() do
    for _, id in ipairs(redis.call('ZREVRANGE', walk[1], start, start + 499)) do
      if isFull() then break end
      look(id)
    end
    start = start + 500
  end
else
  local all = {}
  for _, key in ipairs(walk) do
    local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #found, 2 do all[#all + 1] = {found[i], tonumber(found[i + 1])} end
  end
  table.sort(all, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] > b[1]
  end)
  for _, each in ipairs(all) do
    if isFull() then break end
    look(each[1])
  end
end

local records = {}
for i = 1, math.min(#ids, tonumber(ARGV[3])) do
  records[i] = redis.call('HMGET', jobKey(ids[i]), 'record', 'percent', 'message')
end
return {ids, records}
""")

#: ids.  Gives their records.
_RECORDS = Script.of("""
local records = {}
for i, id in ipairs(ARGV) do
  records[i] = redis.call('HMGET', jobKey(id), 'record', 'percent', 'message')
end
return records
""")

_SCRIPTS = (_ADD, _REPLACE, _PROGRESS, _REMOVE, _FIND, _RECORDS)


class _Protocol(txredisapi.RedisProtocol):  # type: ignore[misc]
    """
    A connection to Redis.

    @ivar lost: a Deferred that fires when the connection is gone.
    @ivar reason: why it is gone, where that is known.
    """

    def __init__(self) -> None:
        super().__init__(charset="utf-8", convertNumbers=False)
        self.lost: Deferred[None] = Deferred()
        self.reason: str | None = None

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """See C{IProtocol}."""
        try:
            super().dataReceived(data, unpause)
        except txredisapi.InvalidData:
            self.drop("what answers is no Redis server")

    def drop(self, reason: str) -> None:
        """End the connection without a word more."""
        self.reason = self.reason or reason
        self.transport.abortConnection()

    def connectionLost(self, why: Failure) -> None:
        """See C{IProtocol}."""
        if self.reason is None:
            self.reason = (
                "the connection was closed"
                if why.check(ConnectionDone)
                else _textOf(why)
            )
        super().connectionLost(why)
        self.lost.callback(None)


@attrs.frozen
class Login:
    """
    What to do on a new connection before all else.

    @ivar username: empty for Redis's default user.
    @ivar password: empty for none.
    """

    username: str = ""
    password: str = attrs.field(default="", repr=False)
    dbnum: int = 0

    def hide(self, text: str) -> str:
        """A text without the password: Redis repeats what it does not know."""
        return text.replace(self.password, "***") if self.password else text


class Link:
    """
    One connection, made again whenever it is lost.

    A command goes out over the connection that is there, or waits for the try
    to connect that is under way; between two tries it fails at once.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        timeout: float,
        prepare: Callable[[Callable[..., Deferred[Any]]], Awaitable[None]],
    ) -> None:
        """
        @param timeout: seconds that Redis has for each answer.
        @param prepare: called with a function that sends a command over a new
            connection, before others may use that.
        """
        self._reactor = reactor
        self._endpoint = endpoint
        self._timeout = timeout
        self._prepare = prepare
        self._factory = Factory.forProtocol(_Protocol)
        self._factory.noisy = False
        self._protocol: _Protocol | None = None
        self._trying = False
        self._attempt: Deferred[None] | None = None
        self._waiting: list[Deferred[_Protocol]] = []
        self._retry: Any = None
        self._failures = 0
        self._stopped = True
        self._unfinished: set[Deferred[Any]] = set()
        self._connections: set[Deferred[None]] = set()
        self._reason: Exception = _Lost("it is not open")

    def start(self) -> None:
        """Connect, and stay connected; nothing if that is so already."""
        if self._stopped:
            self._stopped = False
            self._connect()

    def stop(self, reason: str = "it is closed") -> Deferred[None]:
        """Let go of the connection when all that was sent is answered."""
        self._stopped = True
        self._reason = _Lost(reason)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._attempt is not None:
            self._attempt.cancel()
        return Deferred.fromCoroutine(self._stop(reason))

    async def _stop(self, reason: str) -> None:
        await DeferredList(list(self._unfinished))
        if self._protocol is not None:
            self._protocol.drop(reason)
        await DeferredList(list(self._connections))

    # The connection

    def _connect(self) -> None:
        self._retry = None
        self._trying = True
        attempt = Deferred.fromCoroutine(self._try())
        attempt.addErrback(self._failed)
        attempt.addErrback(lambda reason: log.failure("connecting went wrong", reason))
        self._attempt = None if attempt.called else attempt

    async def _try(self) -> None:
        protocol: _Protocol | None = None

        def execute(*command: str | int) -> Deferred[Any]:
            return self._ask(protocol, command)

        try:
            connecting: Deferred[_Protocol] = self._endpoint.connect(self._factory)
            protocol = await connecting.addTimeout(
                self._timeout, self._reactor, self._isLate
            )
            _track(protocol.lost, self._connections)
            await self._prepare(execute)
        except BaseException:
            if protocol is not None:
                protocol.drop("it could not be used")
            raise
        self._trying = False
        self._failures = 0
        self._protocol = protocol
        protocol.lost.addCallback(self._lost)
        self._tellWaiting(lambda waiting: waiting.callback(protocol))

    def _failed(self, reason: Failure) -> None:
        self._trying = False
        if not self._stopped:
            final = reason.check(StoreError) is not None
            self._reason = (StoreError if final else _Lost)(_textOf(reason))
            delay = min(FIRST_DELAY * 2**self._failures, LONGEST_DELAY)
            self._failures = min(self._failures + 1, 10)
            self._retry = self._reactor.callLater(delay, self._connect)
        self._tellWaiting(lambda waiting: waiting.errback(self._anew()))

    def _lost(self, _: None) -> None:
        self._protocol = None
        if not self._stopped:
            # The first try is at once: Redis may also close what is idle.
            self._connect()

    def _tellWaiting(self, tell: Callable[[Deferred[_Protocol]], None]) -> None:
        told, self._waiting = self._waiting, []
        for waiting in told:
            if not waiting.called:  # or it has waited for too long
                tell(waiting)

    def _anew(self) -> Exception:
        """The reason; an exception that is raised again and again grows."""
        return type(self._reason)(*self._reason.args)

    # Commands

    def connected(self) -> Deferred[None]:
        """
        Wait for the connection.

        @return: a Deferred that fails as soon as it is known that there is
            none, with whatever the reason is.
        """
        return self._use(lambda protocol: None)

    def execute(self, *command: str | bytes | int) -> Deferred[Any]:
        """
        Have Redis execute a command.  The commands that are given in a row
        are executed in that order.

        @return: a Deferred of the answer; fails with whatever the reason is.
        """
        return self._use(lambda protocol: self._ask(protocol, command))

    def _use(self, work: Callable[[_Protocol], Any]) -> Deferred[Any]:
        if self._stopped or (self._protocol is None and not self._trying):
            return fail(self._anew())
        waiting: Deferred[Any] = Deferred()
        if self._protocol is not None:
            waiting.callback(self._protocol)
        else:
            self._waiting.append(waiting)
            waiting.addTimeout(self._timeout, self._reactor, self._isLate)
        return _track(waiting.addCallback(work), self._unfinished)

    def _ask(
        self, protocol: _Protocol | None, command: Sequence[str | bytes | int]
    ) -> Deferred[Any]:
        assert protocol is not None
        try:
            answer: Deferred[Any] = protocol.execute_command(*command)
        except txredisapi.ConnectionError:
            return fail(_Lost(protocol.reason or "the connection was lost"))

        def late(result: object, timeout: float) -> None:
            # It may be the network that is gone, of which nobody tells; and
            # what was sent must not be executed after what is sent later.
            protocol.drop(self._late)
            self._isLate(result, timeout)

        def failed(reason: Failure) -> Failure:
            if reason.check(txredisapi.ConnectionError):
                return Failure(_Lost(protocol.reason))
            return reason

        return answer.addErrback(failed).addTimeout(self._timeout, self._reactor, late)

    @property
    def _late(self) -> str:
        return f"there was no answer within {self._timeout:g} s"

    def _isLate(self, result: object, timeout: float) -> None:
        if isinstance(result, Failure):
            raise _Lost(self._late)


class _Lost(Exception):
    """There is no connection, or it was lost before the answer came."""


def _track(d: Deferred[T], pending: set[Deferred[Any]]) -> Deferred[T]:
    """Have a set hold a Deferred for as long as that has not fired."""
    pending.add(d)

    def done(result: Any) -> Any:
        pending.discard(d)
        return result

    return d.addBoth(done)


@implementer(IJobStore)
class RedisStore:
    """See L{IJobStore}."""

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        prefix: str = "qgswps",
        login: Login | None = None,
        timeout: float = 5.0,
    ) -> None:
        """
        @param endpoint: a client endpoint, such as L{makeEndpoint} makes.
        @param prefix: what the names of all keys begin with, before a C{:}.
        @param timeout: seconds that Redis has for each answer.
        """
        self._prefix = prefix
        self._login = login or Login()
        self._link = Link(reactor, endpoint, timeout, self._prepare)

    def open(self) -> Deferred[None]:
        """
        See L{IJobStore}; fails with L{StoreError}.  When it fails otherwise
        the store goes on to try, and this may be called again.
        """
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._link.start()
        try:
            await self._link.connected()
        except StoreError as error:
            await self._link.stop(str(error))
            raise
        except Exception as error:
            raise self._unavailable(error) from None

    async def _prepare(self, execute: Callable[..., Deferred[Any]]) -> None:
        login = self._login
        try:
            if login.password:
                user = [login.username] if login.username else []
                await execute("AUTH", *user, login.password)
            if login.dbnum:
                await execute("SELECT", login.dbnum)
            key = f"{self._prefix}:schema"
            version = await execute("GET", key)
            if version is None:
                await execute("SETNX", key, SCHEMA_VERSION)
                version = await execute("GET", key)
        except txredisapi.ResponseError as error:
            if re.match("(ERR )?DB index|WRONGTYPE", str(error)):
                raise StoreError(
                    f"database {login.dbnum} of the Redis server, prefix"
                    f" {self._prefix}, can't be used: {error}"
                ) from None
            raise
        if version != str(SCHEMA_VERSION):
            raise StoreError(
                f"database {login.dbnum} of the Redis server has below"
                f" {self._prefix} records of version {version}, this release needs"
                f" {SCHEMA_VERSION}"
            )
        for script in _SCRIPTS:
            await execute("SCRIPT", "LOAD", script.text)

    def close(self) -> Deferred[None]:
        """See L{IJobStore}."""
        return self._link.stop()

    async def _run(self, script: Script, *arguments: str | bytes | int) -> Any:
        """Run a script, which fails as L{IJobStore} has it."""
        rest = (1, f"{self._prefix}:", *arguments)
        try:
            try:
                return await self._link.execute("EVALSHA", script.sha, *rest)
            except txredisapi.ResponseError as error:
                # Someone had Redis forget the scripts that we told it when
                # we connected.
                if not str(error).startswith("NOSCRIPT"):
                    raise
            return await self._link.execute("EVAL", script.text, *rest)
        except Exception as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> OWSError:
        return storeFailed(self._login.hide(_textOf(Failure(error))))

    def add(self, job: Job) -> Deferred[None]:
        """See L{IJobStore}."""

        async def add() -> None:
            before = repr(job.created - ABANDONED)
            if not await self._run(_ADD, job.id, before, *_fields(job)):
                raise storeFailed(f"there is a job {job.id!r} already")

        return Deferred.fromCoroutine(add())

    def get(self, jobId: str) -> Deferred[Job | None]:
        """See L{IJobStore}."""

        async def get() -> Job | None:
            [record] = await self._run(_RECORDS, jobId)
            return _job(record)

        return Deferred.fromCoroutine(get())

    def replace(self, job: Job, expected: State) -> Deferred[bool]:
        """See L{IJobStore}."""

        async def replace() -> bool:
            return bool(
                await self._run(_REPLACE, job.id, expected.value, *_fields(job))
            )

        return Deferred.fromCoroutine(replace())

    def progress(self, jobId: str, percent: float, message: str) -> Deferred[None]:
        """See L{IJobStore}."""

        async def progress() -> None:
            await self._run(
                _PROGRESS, jobId, repr(percent), message, State.STARTED.value
            )

        return Deferred.fromCoroutine(progress())

    def find(
        self,
        states: Iterable[State] | None = None,
        processId: str | None = None,
        server: str | None = None,
        realm: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Deferred[list[Job]]:
        """See L{IJobStore}."""
        wanted = {"process": processId, "server": server, "realm": realm}
        groups = [
            [f"{name}:{value}"] for name, value in wanted.items() if value is not None
        ]
        if states is not None:
            groups.append([f"state:{state.value}" for state in states])
        flat = [text for group in groups for text in (str(len(group)), *group)]

        async def find() -> list[Job]:
            ids, records = await self._run(
                _FIND, offset, -1 if limit is None else limit, PAGE, *flat
            )
            jobs = [_job(record) for record in records]
            for start in range(PAGE, len(ids), PAGE):
                records = await self._run(_RECORDS, *ids[start : start + PAGE])
                jobs += [_job(record) for record in records]
            return [job for job in jobs if job is not None]

        return Deferred.fromCoroutine(find())

    def remove(self, jobId: str) -> Deferred[None]:
        """See L{IJobStore}."""

        async def remove() -> None:
            await self._run(_REMOVE, jobId)

        return Deferred.fromCoroutine(remove())


def _fields(job: Job) -> tuple[str | bytes, ...]:
    """What the scripts take for a job, with the indexes that it belongs to."""
    return (
        codec.dumps(job),
        job.state.value,
        repr(job.percent),
        job.message,
        repr(job.created),
        "" if job.expires is None else repr(job.expires),
        "jobs",
        f"state:{job.state.value}",
        f"process:{job.processId}",
        f"server:{job.server}",
        *(() if job.realm is None else (f"realm:{job.realm}",)),
    )


def _job(record: tuple[Any, Any, Any]) -> Job | None:
    data, percent, message = record
    if data is None:
        return None
    return attrs.evolve(codec.loads(Job, data), percent=float(percent), message=message)


def _textOf(reason: Failure) -> str:
    return " ".join(reason.getErrorMessage().split()).rstrip(".")


def makeEndpoint(
    reactor: Any, host: str, port: int, timeout: float, tls: Any = None
) -> Any:
    """
    Where a Redis server listens.

    @param host: a name, an address, or the path of a UNIX socket.
    @param tls: what L{makeTLS} has made, or None for a plain connection.
    """
    if host.startswith("/"):
        return UNIXClientEndpoint(reactor, host, timeout=timeout)
    endpoint = HostnameEndpoint(reactor, host, port, timeout=timeout)
    return endpoint if tls is None else wrapClientTLS(tls, endpoint)


def makeTLS(host: str, authorities: str = "", certificate: str = "") -> Any:
    """
    How to know the server, and how it knows us.

    @param authorities: path of a PEM file with the certificates that may have
        signed the server's; empty for those that the system trusts.
    @param certificate: path of a PEM file with a certificate of ours and its
        key; empty for none.
    @raise OSError: a file can't be read.
    @raise ValueError: a file is not what it has to be.
    """
    trusted = None
    if authorities:
        found = re.findall(
            b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----",
            _content(authorities),
            re.DOTALL,
        )
        if not found:
            raise ValueError(f"{authorities} has no certificate in PEM form")
        trusted = trustRootFromCertificates(
            [_parse(Certificate.loadPEM, each, authorities) for each in found]
        )
    own = None
    if certificate:
        own = _parse(PrivateCertificate.loadPEM, _content(certificate), certificate)
    return optionsForClientTLS(host, trustRoot=trusted, clientCertificate=own)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _parse(load: Callable[[bytes], T], data: bytes, path: str) -> T:
    try:
        return load(data)
    except Exception:
        # OpenSSL's errors are lists of codes.
        raise ValueError(f"{path} can't be read as a certificate in PEM form") from None
