"""`modeldepot endpoint` prints what the Hub's clients need, and nothing more is needed."""

import json
import subprocess
import sys
from pathlib import Path

from app.domain.keys import hub_token
from tests.cli.shell import Shell
from tests.depot import KEY, SECRET


def test_what_it_prints_lets_the_hub_s_command_fetch_a_model(shell: Shell, tmp_path: Path) -> None:
    name = shell.ready()
    exports = shell.done("endpoint")
    hf = Path(sys.executable).with_name("hf")
    script = f'{exports}\n"{hf}" download {name} --local-dir "{tmp_path}/model" --quiet'
    done = subprocess.run(
        ["sh", "-ec", script],
        env=shell.environment | {"HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model" / "config.json").read_bytes() == b"{}"
    told = json.loads(shell.done("endpoint", "--json"))
    assert told == {"HF_ENDPOINT": shell.environment["DEPOT_URL"], "HF_TOKEN": hub_token(KEY, SECRET)}
