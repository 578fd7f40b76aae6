"""A worker's slots, and which operations each of them is for.

Within each lane the oldest operation goes first. So a delete never waits for a download, and a small model overtakes
large ones. Slots for models of any size take small ones, too, in their turn: no stream of these keeps a large one waiting.
"""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from app.domain.commands import Command

_DELETES = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """How a runner goes about it. Durations in seconds."""

    slots: int
    small_slots: int
    small: int
    """The most bytes of a model that is fetched in a small slot."""
    poll_interval: float
    attempts: int
    backoff: float
    retention: float
    audit_retention: float
    error_retention: float

    @property
    def all_slots(self) -> int:
        """How many operations there may be at a time."""
        return self.slots + self.small_slots + _DELETES


@dataclass(frozen=True, slots=True)
class Lane:
    """Slots for the operations of one command, and of these, with `small`, only for models of at most so many bytes."""

    slots: int
    command: Command
    small: int | None = None
    running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def has_free_slot(self) -> bool:
        return len(self.running) < self.slots


class Lanes(NamedTuple):
    """In the order in which they are filled: a model that may go to a slot for any size begins there at once,
    however large it turns out to be.
    """

    deletes: Lane
    models: Lane
    small: Lane

    @classmethod
    def of(cls, policy: Policy) -> Self:
        return cls(
            deletes=Lane(_DELETES, Command.DELETE_MODEL),
            models=Lane(policy.slots, Command.CREATE_MODEL),
            small=Lane(policy.small_slots, Command.CREATE_MODEL, policy.small),
        )

    @property
    def running(self) -> list[asyncio.Task[None]]:
        return [task for lane in self for task in lane.running]
