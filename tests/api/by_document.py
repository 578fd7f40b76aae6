"""The API against its own OpenAPI document, by schemathesis: `python -m tests.api.by_document [--examples 1000]`.

A depot of real processes is asked what the document says that it may be asked, and what it says that it may not. Each
answer must have a status, a type and a shape that the document lists. It prints how many cases there were.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.depot import CREDENTIALS, Depot
from tests.fakehub.hub import Hub
from tests.servers import PostgreSQL, Redis

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
"""The one of the document's examples."""
_CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def check(depot: Depot, examples: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Up to `examples` random cases of each operation, beside the ones at the edges of its schema."""
    document = depot.client.get(f"http://127.0.0.1:{depot.port}/openapi.json").json()
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        # It says what shape any other error has, which would allow every status.
        operation["responses"].pop("default", None)
    path = depot.folder / "openapi.json"
    path.write_text(json.dumps(document))
    (authorization,) = CREDENTIALS.values()
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_CONFIGURATION), "run"]
    given = {
        "--url": f"http://127.0.0.1:{depot.port}/v2",
        "--header": f"Authorization: {authorization}",
        "--max-examples": str(examples),
        "--generation-database": "none",
        "--request-timeout": "30",
    }
    options = [part for option in given.items() for part in option]
    return subprocess.run(
        [*command, str(path), "--no-color", *options, *words],
        capture_output=True,
        text=True,
        cwd=depot.folder,
        check=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.api.by_document", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="of each operation")
    options, words = parser.parse_known_args(arguments)
    with ExitStack() as stack:
        postgresql, redis = stack.enter_context(PostgreSQL()), stack.enter_context(Redis())
        hub = stack.enter_context(Hub())
        hub.add(REPOSITORY, {"config.json": b"{}"})
        depot = Depot(
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="document-"))),
            database_url=postgresql.migrated(),
            redis_url=redis.url,
            hub_endpoint=hub.endpoint,
        )
        stack.callback(depot.close)
        depot.wait(depot.create(REPOSITORY)["id"])
        done = check(depot, options.examples, *words)
        print(done.stdout, done.stderr)
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
