"""The Hub on loopback, by hand: serves a folder of repositories."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.fakehub.hub import LOOPBACK, Hub


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a folder until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakehub", description="A Hugging Face Hub on loopback.")
    parser.add_argument("folder", type=Path, help="holds owner/name/files…")
    parser.add_argument("--host", default=LOOPBACK, help="a name or address of this machine, as clients know it")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--token", action="append", default=[], metavar="TOKEN=OWNER/NAME,…", help="makes these private"
    )
    parser.add_argument("--rate", type=int, metavar="BYTES", help="a second, for each connection")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Hub(options.folder, host=options.host, port=options.port) as hub:
        hub.rate = options.rate
        for token, _, names in (given.partition("=") for given in options.token):
            hub.account(token, may_read=names.split(","))
            for repo in hub.repos.values():
                repo.private |= repo.name in names.split(",")
        for repo in hub.repos.values():
            files = repo.commits[repo.branches["main"]].entries
            size = sum(entry.content.size for entry in files.values())
            print(f"{repo.name}: {len(files)} files, {size:,} bytes{', private' if repo.private else ''}")
        print(f"large files: {hub.cdn}")
        print(f"export HF_ENDPOINT={hub.endpoint}", flush=True)
        stop.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
