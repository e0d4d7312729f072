"""Commands whose store may be in a bucket: they run on a local copy of what they need."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codemix.cli.context import refusal
from codemix.errors import CodemixError

if TYPE_CHECKING:
    from codemix.data.remote.shared_store import SharedStore
    from codemix.data.remote.staging import StagedStore
    from codemix.data.store.store import Store
    from codemix.data.workspace import Workspace

Command = Callable[..., Any]
Needs = Literal["catalog", "training", "everything"]
Tells = Literal["nothing", "cost", "leases"]
_NAMED_BY = ("recipe", "recipes", "runs", "study", "space")  # arguments that say which outputs are meant


def over_buckets(
    needs: Needs, *, writes: bool = False, tells: Tells = "nothing", whole_with: str = ""
) -> Callable[[Command], Command]:
    """Lets a command's `store` be an address. `needs`: which of what belongs to its recipes is copied first, the
    JSON files of the whole store alone for `catalog`. `writes`: what it finishes is pushed when it ends.
    `tells`: it ends with what training would copy, or with who works on what. `whole_with`: an option with which it
    reads everything.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)

        @functools.wraps(command)
        def run(*words: Any, **options: Any) -> Any:
            bound = signature.bind(*words, **options)
            bound.apply_defaults()
            given = bound.arguments
            address = given["store"]
            if not isinstance(address, str):
                _refuse_streaming(given)
                return command(**given)
            _refuse_unwritable(given.get("checkpoints"))
            with _met(given), contextlib.closing(_staged(address, given)) as staged:
                return over_bucket(staged, given)

        def over_bucket(staged: StagedStore, given: dict[str, Any]) -> Any:
            reads = "everything" if given.get(whole_with) else needs
            if reads == "catalog":
                result = command(**given | {"store": staged.catalog().root})
                if tells == "cost":
                    _say_what_training_copies(staged)
                if tells == "leases":
                    _say_who_works(staged)
                return result
            with _copied(staged, reads, given) as copy:
                given["store"] = copy if copy.reader else copy.root
                if not writes:
                    return command(**given)
                shared = staged.shared(copy)
                with shared.at_work():
                    result = command(**given)
                _send_back(staged, shared)
            return result

        return run

    return decorate


def _refuse_unwritable(checkpoints: str | None) -> None:
    """Raises CodemixError, before anything is copied, where checkpoints could not be written."""
    from codemix.data.remote.bucket import Bucket

    if checkpoints is not None:
        Bucket(checkpoints).put(".writable", b"")


@contextlib.contextmanager
def _met(given: dict[str, Any]) -> Iterator[None]:
    """Where the command is one of several processes, it meets the others before it copies: none waits in vain for one
    that cannot."""
    options = [given.get(option) for option in ("coordinator", "hosts", "host")]
    if options == [None, None, None]:
        yield
        return
    if given["checkpoints"] is None:
        raise refusal(
            f"several processes that share nothing but {given['store']} need a bucket for their checkpoints too",
            f"add `--checkpoints`, for example `--checkpoints {given['store']}`",
            rule="hosts-checkpoints",
        )
    from codemix.train.run import hosts
    from codemix.train.run.options import Hosts

    hosts.prepare(Hosts(*options).given)
    with hosts.explain_lost_host():
        yield


def _staged(address: str, given: dict[str, Any]) -> StagedStore:
    from codemix.data.remote.bucket import Bucket
    from codemix.data.remote.places import BucketPlace
    from codemix.data.remote.staging import StagedStore

    def workspaces(store: Store) -> list[Workspace]:
        from codemix.api.workspaces import workspaces

        named = [given[argument] for argument in _NAMED_BY if given.get(argument)]
        if not named:
            raise refusal(
                f"{address} is a bucket: name the recipe whose outputs are meant", rule="store-not-local"
            )
        [recipes] = named
        paths = [recipes] if isinstance(recipes, Path) else recipes
        _, opened = workspaces(paths, store, given["data_root"])
        return opened

    return StagedStore(BucketPlace(Bucket(address)), workspaces)


def _refuse_streaming(given: dict[str, Any]) -> None:
    if given.get("shards") == "stream":
        raise refusal(
            f"`--shards stream` reads from a bucket, and {given['store']} is a folder",
            "leave it out, or give `--store` the address of a bucket",
            rule="store-not-bucket",
        )


@contextlib.contextmanager
def _copied(staged: StagedStore, needs: Needs, given: dict[str, Any]) -> Iterator[Store]:
    """The local copy, with what a command needs."""
    if given.get("shards") == "stream":
        with contextlib.ExitStack() as reading:
            with staged.place.copying():
                streaming = staged.streaming()
                copied = f"copying {streaming.copied}, to {staged.place.cache}"
                print(f"{staged.place}: {copied}; training reads the tokens from there", file=sys.stderr)
                copy = reading.enter_context(streaming.store())
            yield copy
        return
    with staged.place.copying():
        transfer = staged.missing_for_training() if needs == "training" else staged.missing()
        if transfer.outputs:
            cost = f"{len(transfer.outputs):,} outputs, {staged.cost(transfer)}"
            print(f"{staged.place}: copying {cost}, to {staged.local.root}", file=sys.stderr)
        staged.bring(transfer)
    yield staged.local


def _send_back(staged: StagedStore, shared: SharedStore) -> None:
    sent = staged.send_back(shared.local)
    pushed = [*shared.given, *sent.outputs]
    if pushed:
        print(f"{staged.place}: pushed {', '.join(pushed)}", file=sys.stderr)
    for output in sent.differing:
        print(f"{staged.place}: another {output} was there first, and is kept", file=sys.stderr)


def _say_what_training_copies(staged: StagedStore) -> None:
    try:
        staging = staged.missing_for_training()
        streaming = staged.streaming()
    except CodemixError:
        return  # not all of it is built, which the plan has said
    copied = f"{len(staging.outputs):,} outputs, {staged.cost(staging)}"
    print(f"note: `codemix train` copies {copied}, from {staged.place}", file=sys.stderr)
    streamed = f"copies {streaming.copied}; then, as it trains, it reads {streaming.read}"
    print(f"note: `codemix train --shards stream` {streamed}", file=sys.stderr)


def _say_who_works(staged: StagedStore) -> None:
    from codemix.data.remote.leases import held

    for lease in held(staged.place.bucket):
        owner = f"process {lease.process} on {lease.host}"
        when = f"since {lease.since}, last heard of at {lease.renewed}"
        print(f"note: {owner} works on {lease.output}, {when}", file=sys.stderr)
