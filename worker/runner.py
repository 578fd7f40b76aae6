"""Claims operations, runs them, and stores their results."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from itertools import count
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from app.db.errors import DatabaseUnreachable
from app.db.transitions import LeaseLost
from app.domain.errors import Failed, NotYet, OperationError, Reason, TryAgain
from app.probe import Pulse
from app.services import downloads, leases, workers
from app.services.leases import Claim
from app.services.workers import Presence
from app.storage.base import StoreAway
from worker.commands import COMMANDS
from worker.commands.work import Work, WorkerContext
from worker.heartbeat import LeaseHeartbeat
from worker.lanes import Lane, Lanes, RunnerOptions
from worker.maintenance.dead import give_up_dead
from worker.maintenance.orphans import tidy
from worker.maintenance.sweeps import expire, forget
from worker.metrics import Outcome

_LONGEST_BACKOFF = 300.0
_TIDY_EVERY = 12
"""Polls between two passes over what is old and the whole storage: a minute by default."""
_LAST_WORD = 5.0
"""Seconds that a stopping worker waits for the database; without its update the lease runs out by itself."""
_STORE_AWAY = 15.0
"""Seconds until an operation is tried again for which the storage did not answer."""
_BUG = "The worker failed to carry this out; its log says why. Tell whoever runs this server."
_UNTOLD = "What went wrong can't be told here; the worker's log says it. Tell whoever runs this server."

log = structlog.get_logger()


class Runner:
    """One worker's slots."""

    def __init__(self, presence: Presence, context: WorkerContext, options: RunnerOptions, pulse: Pulse) -> None:
        self._presence = presence
        self._context = context
        self._options = options
        self._pulse = pulse
        self._wake = asyncio.Event()
        self._dead_are_gone = False
        self._lanes = Lanes.of(options)

    @property
    def has_free_slot(self) -> bool:
        """Whether it can take a model of any size."""
        return self._lanes.models.has_free_slot

    def wake(self) -> None:
        """Poll at once instead of at the next interval."""
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled; then hand over all running operations to other workers."""
        sweeps = asyncio.create_task(self._sweep())
        try:
            while True:
                self._wake.clear()
                await self._or_log(self._fill_slots())
                self._pulse.beat()
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the wake.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._options.poll_interval):
                        await self._wake.wait()
        finally:
            running = self._lanes.running
            for task in (sweeps, *running):
                task.cancel()
            # After the last sweep: it would announce the worker once more.
            await asyncio.gather(sweeps, return_exceptions=True)
            await asyncio.gather(self._or_log(self._leave()), *running, return_exceptions=True)

    async def _leave(self) -> None:
        async with asyncio.timeout(_LAST_WORD), self._context.database.begin() as connection:
            await workers.sign_out(connection, self._presence.name)

    async def _fill_slots(self) -> None:
        if not self._dead_are_gone:
            await give_up_dead(self._context.database, self._presence)
            self._dead_are_gone = True
        async with self._context.database.read() as connection:
            if not await leases.are_due(connection):
                return
        for lane in self._lanes:
            # While a slot for any size is free, an operation goes there: it needn't be put back for its size.
            while lane.has_free_slot and not (lane is self._lanes.small and self._lanes.models.has_free_slot):
                claim = await self._claim(lane)
                if claim is None:
                    break
                task = asyncio.create_task(self._or_log(self._carry_out(claim, lane)))
                lane.running.add(task)
                task.add_done_callback(lane.running.discard)
                task.add_done_callback(lambda _: self.wake())

    async def _claim(self, lane: Lane) -> Claim | None:
        try:
            return await self._try_claim(lane)
        except DatabaseUnreachable as error:
            if lane is not self._lanes.deletes or not self._context.database.make_room(error):
                raise
            log.warning("the database's disk is full: its ballast was given up for a delete")
            return await self._try_claim(lane)

    async def _try_claim(self, lane: Lane) -> Claim | None:
        name, lease = self._presence.name, self._context.lease
        async with self._context.database.begin() as connection:
            return await leases.claim(connection, name, lease=lease, commands=(lane.command,), small=lane.small)

    async def _carry_out(self, claim: Claim, lane: Lane) -> None:
        fields = {
            "operation_id": claim.lease.operation_id,
            "model_id": claim.resource_id,
            "name": claim.resource_name,
            "command": claim.command,
            "attempt": claim.attempts,
            "request_id": claim.request_id,
        }
        occupies = lane is self._lanes.models
        with bound_contextvars(**fields), self._context.metrics.attempt(claim.command, occupies=occupies) as ending:
            heartbeat = LeaseHeartbeat(self._context.database, claim, self._context.lease)
            try:
                self._check_attempts(claim)
                await _while_kept(COMMANDS[claim.command](Work(claim, heartbeat, self._context, lane.small)), heartbeat)
                ending.outcome = Outcome.SUCCESS
            except asyncio.CancelledError:
                await self._hand_over(claim)
                ending.outcome = Outcome.HANDED_OVER
                raise
            except LeaseLost:
                ending.outcome = await self._let_go(claim)
            except Failed as error:
                ending.outcome = await self._fail(claim, error)
            except NotYet as error:
                ending.outcome = await self._put_back(claim, error)
            except TryAgain as error:
                ending.outcome = await self._try_again(claim, heartbeat, error)
            except DatabaseUnreachable as error:
                # The lease runs out by itself; the next worker resumes from the files.
                log.warning("operation is left", reason=str(error), error=error.cause)
            except StoreAway as error:
                ending.outcome = await self._put_back(claim, _away(error))
            except Exception:
                log.exception("operation failed by a bug")
                ending.outcome = await self._fail(claim, Failed(Reason.FAULT, _BUG))

    def _check_attempts(self, claim: Claim) -> None:
        if claim.attempts > self._options.attempts:
            died = f"{claim.attempts - 1} workers in a row died at this."
            raise Failed(Reason.INTERRUPTED, f"{died} Retry to try once more.")

    async def _hand_over(self, claim: Claim) -> None:
        async with asyncio.timeout(_LAST_WORD), self._context.database.begin() as connection:
            await leases.put_back(connection, claim.lease)
        log.info("operation is handed over")
        await self._context.wakeup.send()

    async def _let_go(self, claim: Claim) -> Outcome:
        log.info("lease is lost: stopped")
        async with self._context.database.begin() as connection:
            cancelled = await leases.let_go(connection, claim.lease)
        if cancelled:  # The next operation on this model, its delete, waited for this.
            await self._context.wakeup.send()
        return Outcome.CANCELLED if cancelled else Outcome.LOST

    async def _put_back(self, claim: Claim, error: NotYet) -> Outcome:
        async with self._context.database.begin() as connection:
            await leases.put_back(connection, claim.lease, after=error.after, message=error.message)
        log.info("operation waits", message=error.message)
        if error.after is None:
            await self._context.wakeup.send()
        return Outcome.PUT_BACK

    async def _try_again(self, claim: Claim, heartbeat: LeaseHeartbeat, error: TryAgain) -> Outcome:
        async with self._context.database.begin() as connection:
            attempts = await leases.renew(
                connection, claim.lease, seconds=self._context.lease, reached=heartbeat.downloaded
            )
            if attempts < self._options.attempts:
                wait = max(self._options.backoff * 2 ** (attempts - 1), error.after or 0.0)
                wait = min(wait, _LONGEST_BACKOFF)
                message = (
                    f"{error.message} Attempt {attempts} of {self._options.attempts}; the next is in {wait:.0f} s."
                )
                await leases.release(connection, claim.lease, after=wait, message=message)
                log.warning("operation will be tried again", reason=error.reason, message=error.message, wait=wait)
                self._context.metrics.tried_again(error.reason)
                return Outcome.AGAIN
        message = f"{error.message} {attempts} attempts failed; retry to go on from what is there."
        return await self._fail(claim, Failed(error.reason, message))

    async def _fail(self, claim: Claim, error: OperationError) -> Outcome:
        try:
            await self._settle(claim, error)
        except (LeaseLost, DatabaseUnreachable):
            raise
        except Exception:
            # Unless it ends here, the operation would be claimed repeatedly and end as if its workers had died.
            log.exception("how the operation failed can't be stored")
            await self._settle(claim, Failed(error.reason, _UNTOLD))
        log.warning("operation failed", reason=error.reason, message=error.message)
        return Outcome.FAILURE

    async def _settle(self, claim: Claim, error: OperationError) -> None:
        async with self._context.database.begin() as connection:
            await downloads.fail(connection, claim.lease, claim.resource_id, claim.command, error)

    async def _sweep(self) -> None:
        for look in count():
            await self._or_log(self._announce(fresh=look == 0))
            await self._or_log(expire(self._context.database))
            if look % _TIDY_EVERY == 0:
                if self._context.database.ballast:
                    await asyncio.to_thread(self._context.database.ballast.keep)
                await self._or_log(forget(self._context.database, self._options))
                await self._or_log(tidy(self._context.database, self._context.storage))
            await asyncio.sleep(self._options.poll_interval)

    async def _announce(self, *, fresh: bool) -> None:
        async with self._context.database.begin() as connection:
            await workers.announce(connection, self._presence, fresh=fresh)
            await workers.forget_silent(connection)

    async def _or_log(self, work: Coroutine[Any, Any, None]) -> None:
        """Log any error of `work`: only a cancellation ends a worker's loop."""
        try:
            await work
        except LeaseLost:
            log.info("lease was lost before its operation could be settled")
        except DatabaseUnreachable as error:
            log.warning("the database can't be used", reason=str(error), error=error.cause)
        except Exception:
            log.exception("the worker's loop failed")


def _away(error: StoreAway) -> NotYet:
    message = f"The storage can't be used: {error.strerror}. It is tried again until it can."
    return NotYet(Reason.FAULT, message, after=_STORE_AWAY)


async def _while_kept(work: Coroutine[Any, Any, None], heartbeat: LeaseHeartbeat) -> None:
    """Run `work` while its lease is held. Raise its error, or `LeaseLost` once it has stopped."""
    working = asyncio.ensure_future(work)
    keeping = asyncio.create_task(heartbeat.run())
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            keeping.result()
        keeping.cancel()
        await working
    finally:
        for task in (working, keeping):
            task.cancel()
        await asyncio.gather(working, keeping, return_exceptions=True)
