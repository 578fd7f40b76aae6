"""Command lines that do what a page does. They name secrets, but hold none."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_EXAMPLE = "owner/name"


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, with a title."""

    title: str
    text: str


def to_create(
    address: str, name: str, revision: str, include: Sequence[str], exclude: Sequence[str], *, short: str | None = None
) -> list[Line]:
    """Return commands for the same create. `address` is the depot's, as clients see it.

    `short` is what `modeldepot pull` takes for the name with the revision and the patterns.
    """
    body: dict[str, Any] = {"name": name or _EXAMPLE}
    body |= {"revision": revision} if revision else {}
    body |= {key: list(value) for key, value in (("include", include), ("exclude", exclude)) if value}
    # The values' repr() is valid Python.
    given = ", ".join(f"{key}={value!r}" for key, value in body.items())
    flags = [
        word for key, value in (("--include", include), ("--exclude", exclude)) for one in value for word in (key, one)
    ]
    flags = (["--revision", revision] if revision else []) + flags
    return [
        Line(
            "curl",
            f"curl {shlex.quote(f'{address}/v2/ai/model')} \\\n"
            '  -H "Authorization: Bearer $DEPOT_KEY:$DEPOT_SECRET" \\\n'
            "  -H 'Content-Type: application/json' \\\n"
            f"  -d {shlex.quote(json.dumps(body))}",
        ),
        Line(
            "Python SDK",
            "import os\nfrom exoscale.api.v2 import Client\n\n"
            'depot = Client(os.environ["DEPOT_KEY"], os.environ["DEPOT_SECRET"],\n'
            f"               url={f'{address}/v2'!r})\n"
            f"depot.create_model({given})",
        ),
        Line("Command line", shlex.join(["modeldepot", "pull", *([short] if short else [body["name"], *flags])])),
    ]
