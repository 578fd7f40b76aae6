"""Whether and when a failed request is repeated."""

from dataclasses import dataclass

from app.domain.errors import TryAgain
from worker.download.answers import Trouble


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`backoff`: seconds to wait after the first failure, doubled by each further one, `doublings` times at most.

    After `limit` failures in a row, without progress between them, requests are given up.
    """

    backoff: float
    limit: int = 5
    doublings: int = 5

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row."""
        return self.backoff * float(2 ** min(failures - 1, self.doublings))


class Retries:
    """The failures of one request in a row. Moments are seconds of a monotonic clock."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.failures = 0
        """Failures since this request's own last bytes."""
        self.due = 0.0
        """When to repeat it."""
        self.trouble: Trouble | None = None
        """The last failure."""
        self._policy = policy
        self._troubles = 0
        """Failures since any request's progress."""
        self._fetched = 0

    @property
    def is_exhausted(self) -> bool:
        return self._troubles >= self._policy.limit

    @property
    def is_crowded(self) -> bool:
        """Whether fewer requests at once may help."""
        return self.trouble is not None and self.trouble.crowded

    def failed(self, trouble: Trouble, moment: float, *, fetched: int, progress: int) -> None:
        """Note a failure. `fetched`: bytes of all requests so far; `progress`: bytes after which counting restarts."""
        self.failures += 1
        self._troubles = 1 if fetched - self._fetched >= progress else self._troubles + 1
        self._fetched = fetched
        self.trouble = trouble
        self.due = moment + (trouble.after or self._policy.delay(self.failures))

    def received(self) -> None:
        """Note bytes of the request itself: the next failure waits as briefly as the first."""
        self.failures = 0

    def error(self) -> TryAgain:
        """Return the last failure as the attempt's error."""
        assert self.trouble  # noqa: S101  # it failed
        return TryAgain(self.trouble.reason, self.trouble.message, after=self.trouble.after)
