"""What is done to many rows of a list at once: which are ticked, and what is said of the changes."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fastapi import Request, Response

from app.console.forms import told
from app.console.pages import page
from app.console.session import Form
from app.domain.errors import Refusal

_PREFIX = "pick-"
"""Of a box's name, before the row's id: see `tick` in `macros.html`."""
_Id = TypeVar("_Id")


def ticked(form: Form) -> list[str]:
    """Return the ids of the rows that are ticked."""
    return [name.removeprefix(_PREFIX) for name in form if name.startswith(_PREFIX)]


def ask(
    request: Request,
    noun: str,
    rows: Sequence[tuple[Any, str, str]],
    *,
    action: str,
    done: str,
    notes: Sequence[str],
    yes: str,
    back: str,
) -> Response:
    """Render the question whether it shall be done to `rows`: (id, name, note). Without a `yes` it can't be."""
    context: dict[str, Any] = {"noun": noun, "rows": rows, "action": action, "done": done, "notes": notes}
    return page(request, "bulk.html", **context, yes=yes, back=back)


async def change_each(ids: Sequence[_Id], change: Callable[[_Id], Awaitable[object]], noun: str, done: str) -> str:
    """Make a change to one after another. Return how many it was made to, and why it was refused for the others."""
    refusals: Counter[str] = Counter()
    for one in ids:
        try:
            await change(one)
        except Refusal as refusal:
            refusals[told(refusal)] += 1
    changed = len(ids) - refusals.total()
    parts = [f"{amount(changed, noun)} {'is' if changed == 1 else 'are'} {done}."]
    parts += [f"{amount(number, noun)} refused: {message}" for message, number in refusals.most_common(2)]
    return " ".join(parts)


def amount(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
