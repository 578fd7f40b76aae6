"""Runs the Hub's clients in processes of their own, as their users do: they read their settings when they start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.depot import KEY, SECRET, Depot

_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("DEPOT_", "HF_"))}
_PYTHON = """
import json, sys
import huggingface_hub as h
given = json.loads(sys.argv[1])
api = h.HfApi()
"""


def environment(depot: Depot, home: Path) -> dict[str, str]:
    """That of a client that keeps its cache in `home`."""
    return _CLEAN | {
        "HF_ENDPOINT": depot.address(""),
        "HF_TOKEN": f"{KEY}:{SECRET}",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_COLOR": "1",
    }


def python(depot: Depot, home: Path, code: str, **given: Any) -> Any:
    """What `code` prints as JSON on its last line, with huggingface_hub as `h`, an HfApi as `api` and these as `given`."""
    words = [sys.executable, "-c", _PYTHON + code, json.dumps(given)]
    done = subprocess.run(words, env=environment(depot, home), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def hf(depot: Depot, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of huggingface_hub."""
    program = Path(sys.executable).with_name("hf")
    return subprocess.run(
        [program, *words], env=environment(depot, home), capture_output=True, text=True, check=False, timeout=120
    )
