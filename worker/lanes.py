"""A worker's slots, and which operations each slot takes.

Within each lane the oldest operation goes first. So a delete never waits for a download, and a small model overtakes
large ones. Slots for any size take small models too, oldest first: many small ones never keep a large one waiting.
"""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from app.domain.commands import Command

_DELETES = 2


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """The settings of a runner. Durations are in seconds."""

    slots: int
    small_slots: int
    small: int
    """The largest model that a small slot fetches, in bytes."""
    poll_interval: float
    attempts: int
    backoff: float
    retention: float
    audit_retention: float
    error_retention: float
    deployment_expiry: float
    webhook_retention: float

    @property
    def all_slots(self) -> int:
        """The number of operations that can run at a time."""
        return self.slots + self.small_slots + _DELETES


@dataclass(frozen=True, slots=True)
class Lane:
    """Slots for the operations of one command; with `small`, only for models of at most that many bytes."""

    slots: int
    command: Command
    small: int | None = None
    running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def has_free_slot(self) -> bool:
        return len(self.running) < self.slots


class Lanes(NamedTuple):
    """The lanes in the order in which they are filled: while a slot for any size is free, a model begins there,
    however large it turns out to be.
    """

    deletes: Lane
    models: Lane
    small: Lane

    @classmethod
    def of(cls, options: RunnerOptions) -> Self:
        return cls(
            deletes=Lane(_DELETES, Command.DELETE_MODEL),
            models=Lane(options.slots, Command.CREATE_MODEL),
            small=Lane(options.small_slots, Command.CREATE_MODEL, options.small),
        )

    @property
    def running(self) -> list[asyncio.Task[None]]:
        return [task for lane in self for task in lane.running]
