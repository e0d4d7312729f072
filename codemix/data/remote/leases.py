"""Leases: who works on an output of a store that machines share by nothing but a bucket.

    leases/<output>    {"machine", "process", "lock", "since", "nonce", "renewals"}

The object is written where there is none (If-None-Match), renewed by its owner every 10 seconds over the version
that the owner wrote before (If-Match), and deleted at the end. One that stays as it is for a minute, as whoever wants
it sees it, has lost its owner and is taken over, again with If-Match. So no clock is compared with another: a wrong
one, here or there, does nothing. Where the owner was a process of this machine, the lock of its local copy tells at
once that it is dead.

A lease saves work, it does not guard content: an owner that was suspended for a minute and goes on writes what it
makes as everything is written into a bucket, whole, under its fingerprint, and where there is none.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from codemix.data.remote.bucket import CONCURRENT, Bucket, Stored
from codemix.errors import CodemixError

FOLDER = "leases"
LEASE_S = 60.0  # as long as this without a renewal, and the owner is taken for dead
RENEW_S = 10.0
ASK_S = 2.0  # how often one that somebody holds is looked at
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Lease:
    """Who holds an output."""

    machine: str  # its name, and which of its starts this is
    process: int
    lock: str  # the file in the local copy whose lock the process holds
    since: str  # by the clock of that machine
    nonce: str  # of this holding
    renewals: int = 0

    @property
    def host(self) -> str:
        return self.machine.partition(" ")[0]

    def as_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class HeldOutput:
    """A lease, as a bucket has it."""

    output: str
    host: str
    process: int
    since: str
    renewed: str  # by the clock of the service


@contextlib.contextmanager
def hold(bucket: Bucket, output: str, lock: Path) -> Iterator[None]:
    """Hold the lease of an output. `lock`: a file whose lock this process holds.

    Raises CodemixError (`store-busy`) where the lease is renewed by somebody else.
    """
    mine = Lease(_machine(), os.getpid(), _identity(lock), _now(), uuid.uuid4().hex)
    key = f"{FOLDER}/{output}"
    _acquire(bucket, key, mine)
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(bucket, key, mine, stop), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        stop.set()
        renewing.join()
        with contextlib.suppress(CodemixError):  # it ends by itself
            _release(bucket, key, mine)


def held(bucket: Bucket) -> list[HeldOutput]:
    """All leases of a bucket; those whose owner died too, until somebody takes them."""
    entries = bucket.entries(FOLDER)
    with ThreadPoolExecutor(CONCURRENT) as pool:
        found = list(pool.map(bucket.get, [entry.key for entry in entries]))
    leases: list[HeldOutput] = []
    for entry, content in zip(entries, found, strict=True):
        if content is None:
            continue
        lease = _read(content)
        output = entry.key.removeprefix(f"{FOLDER}/")
        renewed = entry.modified.isoformat(" ", "seconds")
        leases.append(HeldOutput(output, lease.host, lease.process, lease.since, renewed))
    return leases


def _acquire(bucket: Bucket, key: str, mine: Lease) -> None:
    seen = b""
    began = time.monotonic()
    while not bucket.put_new(key, mine.as_json()):
        there = bucket.stored(key)
        if there is None:
            continue  # given back meanwhile
        theirs = _read(there.content)
        if seen and there.content != seen:
            raise _busy(bucket, key, theirs)
        if not seen:
            seen = there.content
        is_over = time.monotonic() - began > LEASE_S
        if (is_over or _is_dead(theirs, mine)) and _take_over(bucket, key, mine, there):
            return
        time.sleep(ASK_S)


def _take_over(bucket: Bucket, key: str, mine: Lease, there: Stored) -> bool:
    if not bucket.put_over(key, mine.as_json(), there):
        return False
    print(f"{bucket.address}/{key}: {_owner(_read(there.content))} has left it", file=sys.stderr)
    return True


def _is_dead(theirs: Lease, mine: Lease) -> bool:
    """Whether an owner is known to be dead: it held the lock that this process holds now."""
    if theirs.machine != mine.machine:
        return False
    return theirs.lock == mine.lock


def _renew(bucket: Bucket, key: str, mine: Lease, stop: threading.Event) -> None:
    renewals = 0
    while not stop.wait(RENEW_S):
        with contextlib.suppress(CodemixError):  # the next time, perhaps
            there = bucket.stored(key)
            if there is None or _read(there.content).nonce != mine.nonce:
                return  # somebody took it over
            renewals += 1
            renewed = replace(mine, renewals=renewals)
            bucket.put_over(key, renewed.as_json(), there)


def _release(bucket: Bucket, key: str, mine: Lease) -> None:
    content = bucket.get(key)
    if content is not None and _read(content).nonce == mine.nonce:
        bucket.delete([key])


def _read(content: bytes) -> Lease:
    """A lease; an unknown one where it cannot be read, which ends as any other."""
    try:
        return Lease(**json.loads(content))
    except (ValueError, TypeError):
        return Lease("(unknown)", 0, "", "(unknown)", "")


def _busy(bucket: Bucket, key: str, theirs: Lease) -> CodemixError:
    output = key.removeprefix(f"{FOLDER}/")
    return CodemixError(
        f"{bucket.address} is in use: {_owner(theirs)} works on {output}, since {theirs.since}",
        hints=[
            "wait until it ends: what it finishes is taken from there; `codemix status --store` shows who works"
        ],
        rule="store-busy",
    )


def _owner(lease: Lease) -> str:
    return f"process {lease.process} on {lease.host}"


def _machine() -> str:
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    return f"{socket.gethostname()} {boot}"


def _identity(lock: Path) -> str:
    """A lock's file: another file at its path, in another container of this machine, is another lock."""
    status = lock.stat()
    return f"{lock.absolute()} {status.st_dev}:{status.st_ino}"


def _now() -> str:
    return datetime.now(UTC).isoformat(" ", "seconds")
