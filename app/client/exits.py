"""The errors that end a command, and their exit codes.

0    it is done, or was already
1    anything that has no number below
2    the command line or a setting is wrong, or the depot finds fault with what was asked
3    no depot answers, or it can't at the moment
4    the key is unknown, or may only look
5    there is no such model, deployment or operation
6    something is in the way: deployments use the model, or it is not ready
7    it is not done within the --timeout; it goes on
10   the operation failed, because of not-found; likewise
     11 forbidden, 12 incorrect, 13 unsupported, 14 busy, 15 unavailable,
     16 partial, 17 interrupted, 18 conflict, 19 fault, 20 unknown
21   the operation's deadline passed
130  Ctrl-C; what was asked for goes on
141  what read the output, such as `head`, has gone
"""

from collections.abc import Mapping
from types import MappingProxyType

from app.domain.errors import Reason
from app.domain.states import OperationState
from app.terminal import CommandError

CODES = (__doc__ or "").partition("\n\n")[2].rstrip()
"""The exit codes, as help text."""
STOPPED = 130
_OF_REASON: Mapping[str, int] = MappingProxyType({reason: 10 + number for number, reason in enumerate(Reason)})
_LATE = 21


class CannotDo(CommandError):
    """Ends the command with its message, which says what to do, and its exit code."""


class Wrong(CannotDo):
    exit_code = 2


class NoDepot(CannotDo):
    """A retry may help."""

    exit_code = 3


class NotAllowed(CannotDo):
    exit_code = 4


class NotThere(CannotDo):
    exit_code = 5


class InTheWay(CannotDo):
    exit_code = 6


class NotDone(CannotDo):
    """Work goes on, and was not waited for any longer."""

    exit_code = 7


class Failed(CannotDo):
    """An operation failed, for `reason`, or its deadline passed."""

    def __init__(self, reason: str | None, message: str | None, *, state: str = OperationState.FAILURE) -> None:
        self.reason = reason
        super().__init__(f"{reason or Reason.UNKNOWN}: {message or 'the depot gives no message; its log may.'}")
        late = state == OperationState.TIMEOUT
        self.exit_code = _LATE if late else _OF_REASON.get(reason or "", _OF_REASON[Reason.UNKNOWN])  # type: ignore[misc]  # click reads it from the instance
