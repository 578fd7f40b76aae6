"""`modeldepot up`, with the processes it really starts."""

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx2
import pytest
from pydantic import SecretStr
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from app.cli.up import up as command
from app.sealing import new_key
from app.settings import Settings
from app.standalone.redis import RedisServer
from app.standalone.supervisor import answers
from tests.processes import BUSY, alive, free_port, parent_of, processes, said, until
from tests.terminal import modeldepot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

_PARTS = {"api": "app.cli", "worker": "worker.main", "redis": "-server"}
"""What tells them apart on their command lines."""
_PATH = "/usr/bin:/bin"


class Up:
    """One `modeldepot up` on a port of its own. Its output is in `folder`."""

    def __init__(self, folder: Path, *flags: str, terminal: bool = False, **environment: str) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self._output, self._log = folder / "output", folder / "log"
        self._seen: set[int] = set()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DEPOT_", "HF_"))}
        self._log.touch()
        with self._on_a_terminal() if terminal else self._in_files() as (output, log):
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "up", "--data", str(self.data), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=clean | {"DEPOT_PORT": str(self.port), "DEPOT_HUB_ENDPOINT": "http://127.0.0.1:9"} | environment,
                start_new_session=True,
            )

    @contextmanager
    def _in_files(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        with self._output.open("wb") as output, self._log.open("wb") as log:
            yield output, log

    @contextmanager
    def _on_a_terminal(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """What is shown there goes to the output, as long as anybody has the terminal open."""
        master, slave = pty.openpty()

        def read() -> None:
            with open(master, "rb", buffering=0) as shown, self._output.open("ab") as output, suppress(OSError):  # noqa: PTH123
                while some := shown.read(4096):
                    output.write(some)
                    output.flush()

        threading.Thread(target=read, daemon=True).start()
        with open(slave, "wb", buffering=0) as terminal:  # noqa: PTH123
            yield terminal, terminal

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def comes_up(self) -> "Up":
        """All its parts run and its API has answered."""
        until(lambda: "is up" in self.output or self.process.poll() is not None, self._log.read_text)
        until(lambda: len(self.parts()) == len(_PARTS), self._log.read_text)
        return self

    def parts(self) -> dict[str, int]:
        """The process ids of the parts that run now."""
        found: dict[str, int] = {}
        for pid in _running():
            if parent_of(pid) == self.process.pid:
                found |= {name: pid for name, mark in _PARTS.items() if mark in said(pid, "cmdline")}
        self._seen |= set(found.values())
        return found

    def ends(self) -> int:
        """Its exit code, once it and all it ever started are gone."""
        code = self.process.wait(10 + BUSY)
        until(lambda: not self._seen & _running(), self._log.read_text)
        return code

    def clean_up(self) -> None:
        self.parts()
        for pid in {self.process.pid, *self._seen} & _running():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


Starter = Callable[..., Up]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that tests only look at. Its user's PATH has no `modeldepot`."""
    up = Up(tmp_path_factory.mktemp("running"), PATH=_PATH)
    yield up.comes_up()
    up.clean_up()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    started: list[Up] = []

    def start(*flags: str, terminal: bool = False, **environment: str) -> Up:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Up(folder, *flags, terminal=terminal, **environment))
        return started[-1]

    yield start
    for up in started:
        up.clean_up()


def test_says_where_it_answers_once_it_does(running: Up) -> None:
    up = running
    assert answers("127.0.0.1", up.port)
    assert f"http://127.0.0.1:{up.port}" in up.output
    # What it says for exo is what a shell takes, and opens the API.
    (where, credentials) = (line.strip() for line in up.output.splitlines() if "export EXOSCALE_" in line)
    shown = subprocess.run(
        ["sh", "-c", f"{where}; {credentials}; env"], capture_output=True, text=True, check=True
    ).stdout
    exo = dict(line.split("=", 1) for line in shown.splitlines() if line.startswith("EXOSCALE_"))
    bearer = {"Authorization": f"Bearer {exo['EXOSCALE_API_KEY']}:{exo['EXOSCALE_API_SECRET']}"}
    assert httpx2.get(f"{exo['EXOSCALE_API_ENDPOINT']}/ai/model", headers=bearer).status_code == 200
    (zone,) = httpx2.get(f"{exo['EXOSCALE_API_ENDPOINT']}/zone").json()["zones"]
    assert zone["name"] == exo["EXOSCALE_ZONE"] == "ch-dk-2"
    # The commands find it by what it left in its folder.
    listed = modeldepot({"PATH": os.environ["PATH"], "DEPOT_DATA": str(up.data)}, "ls", "--json")
    assert json.loads(listed.stdout) == {"models": []}, listed.stderr


def test_the_command_that_it_shows_works_as_it_is_typed(running: Up, tmp_path: Path) -> None:
    assert _shown(running, _PATH, tmp_path) != "modeldepot"


def _shown(up: Up, path: str, folder: Path) -> str:
    """The command, with which models are listed in that folder by a user with that PATH."""
    (shown,) = re.findall(r"(?m)^  (\S*modeldepot) pull ", up.output)
    words = ["sh", "-c", f"{shown} ls --json --data '{up.data}'"]
    listed = subprocess.run(words, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert json.loads(listed.stdout) == {"models": []}, listed.stderr
    return str(shown)


def test_keeps_its_data_to_its_owner_and_its_key_to_a_file(running: Up) -> None:
    up = running
    assert stat.S_IMODE(up.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((up.data / "redis").stat().st_mode) == 0o700
    assert stat.S_IMODE((up.data / "secret.key").stat().st_mode) == 0o600
    key = (up.data / "secret.key").read_text().strip()
    for pid in (up.process.pid, *up.parts().values()):
        assert key not in said(pid, "environ") + said(pid, "cmdline")
    assert key not in up.log + up.output


def test_shows_its_new_key_on_a_terminal_once_without_colours_if_they_are_not_wanted(start: Starter) -> None:
    former = start(terminal=True, NO_COLOR="1").comes_up()
    key = (former.data / "api.key").read_text().strip()
    assert key in former.output
    assert _status_with(former.port, key) == 200
    assert _status_with(former.port, f"{key}x") == 403
    # What was refused is told and what went well is not: it would bury the rest.
    until(lambda: re.search("path=/v2/ai/model .*status=403", former.output), lambda: former.output)
    assert "status=200" not in former.output
    assert "\x1b" not in former.output
    _signs_in_once(former)
    former.process.send_signal(signal.SIGTERM)
    assert former.ends() == 0
    up = start("--data", str(former.data), "--verbose", terminal=True, TERM="xterm").comes_up()
    assert key not in up.output
    assert _status_with(up.port, key) == 200
    until(lambda: re.search("path.*/v2/ai/model.*status.*200", up.output), lambda: up.output)
    assert "\x1b" in up.output


def _signs_in_once(up: Up) -> None:
    """The link that it shows, for whoever looks at its terminal."""
    found = re.search(r"http://127\.0\.0\.1:\d+/console/sign-in\?link=[\w.%-]+", up.output)
    assert found is not None
    with httpx2.Client() as browser:
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', browser.get(found[0]).text))
        address = found[0].partition("?")[0]
        answer = browser.post(address, data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console")
        assert browser.get(address.replace("/sign-in", "/keys")).status_code == 200
        again = browser.post(address, data=form)
        assert again.status_code == 403
        assert "This link was used or has expired" in again.text


def test_makes_keys_at_its_first_start_says_where_they_are_and_goes_on_with_them(
    start: Starter, tmp_path: Path
) -> None:
    path = f"{_PATH}:{Path(sys.executable).parent}"
    former = start(PATH=path).comes_up()
    assert _shown(former, path, tmp_path) == "modeldepot"
    stored = former.data / "api.key"
    key = stored.read_text().strip()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    # Its output is a file here, such as logs are kept in.
    assert key.partition(":")[2] not in former.output + former.log
    assert "?link=" not in former.output + former.log
    assert str(stored) in former.output
    assert _status_with(former.port, key) == 200
    assert _status_with(former.port, f"{key}x") == 403
    former.process.send_signal(signal.SIGTERM)
    assert former.ends() == 0
    up = start("--data", str(former.data)).comes_up()
    assert key not in up.output
    assert str(stored) in up.output
    assert _status_with(up.port, key) == 200
    # Without its secret key it can read none of it.
    up.process.send_signal(signal.SIGTERM)
    assert up.ends() == 0
    (former.data / "secret.key").unlink()
    lost = start("--data", str(former.data))
    assert lost.ends() == 1
    assert lost.log.count("\n") == 1, lost.log
    assert "DEPOT_SECRET_KEY" in lost.log


def test_a_key_of_the_users_own_is_used_instead(start: Starter) -> None:
    up = start(DEPOT_SECRET_KEY=new_key()).comes_up()
    assert "DEPOT_SECRET_KEY_FILE" not in said(up.parts()["api"], "environ")


# Others stop it by SIGTERM.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_stop_takes_less_than_ten_seconds_and_leaves_nothing_running(start: Starter, number: int) -> None:
    up = start().comes_up()
    begun = time.monotonic()
    up.process.send_signal(number)
    assert up.ends() == 0
    seconds = time.monotonic() - begun
    print(f"from the signal to the end: {seconds:.2f} s")
    assert seconds < 10 + BUSY


def test_a_part_that_does_not_react_is_killed_in_time(start: Starter) -> None:
    up = start().comes_up()
    os.kill(up.parts()["worker"], signal.SIGSTOP)
    begun = time.monotonic()
    up.process.send_signal(signal.SIGTERM)
    assert up.ends() == 0
    assert time.monotonic() - begun < 10 + BUSY


def test_another_ctrl_c_stops_at_once(start: Starter) -> None:
    up = start().comes_up()
    worker = up.parts()["worker"]
    os.kill(worker, signal.SIGSTOP)
    begun = time.monotonic()

    def killed() -> bool:
        if worker not in _running():
            return True
        up.process.send_signal(signal.SIGINT)
        return False

    until(killed, lambda: up.log)
    assert up.ends() == 0
    assert time.monotonic() - begun < 8, "after eight seconds it would have been killed in any case"


def test_a_part_that_is_killed_is_started_again(start: Starter) -> None:
    up = start().comes_up()
    for number, name in enumerate(_PARTS, 1):
        before = up.parts()
        os.kill(before[name], signal.SIGKILL)
        until(lambda: up.parts().get(name) not in (None, before[name]), lambda: up.log)  # noqa: B023  # called here
        until(lambda: answers("127.0.0.1", up.port), lambda: up.log)
        assert {**up.parts(), name: 0} == {**before, name: 0}
        assert up.log.count("signal 9") == number
    up.process.send_signal(signal.SIGTERM)
    assert up.ends() == 0


def test_its_parts_end_when_it_is_killed(start: Starter) -> None:
    up = start().comes_up()
    up.process.kill()
    assert up.ends() == -signal.SIGKILL


def test_starts_again_at_once_after_it_was_killed(start: Starter) -> None:
    former = start().comes_up()
    key = (former.data / "secret.key").read_text()
    former.process.kill()
    up = start("--data", str(former.data)).comes_up()
    assert former.ends() == -signal.SIGKILL
    assert (former.data / "secret.key").read_text() == key
    up.process.send_signal(signal.SIGTERM)
    assert up.ends() == 0


def test_a_redis_server_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    former, server = RedisServer(tmp_path / "redis"), RedisServer(tmp_path / "redis")
    try:
        left_behind = former.start()
        with Redis.from_url(former.url) as client:
            client.set("rung", "once")
        server.start()
        assert left_behind.wait(BUSY) == 0
        with Redis.from_url(server.url, retry=Retry(ConstantBackoff(0.1), 100)) as client:
            # It answers as soon as it runs, maybe that it still loads what it kept.
            assert client.get("rung") == b"once"
    finally:
        server.stop()
        former.stop()


def test_a_port_that_is_taken_is_told_before_anything_starts(start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start("--port", str(port))
        assert up.ends() == 1
    assert up.log.count("\n") == 1
    assert f"127.0.0.1:{port}" in up.log
    assert "DEPOT_PORT" in up.log


def test_a_folder_that_is_in_use_is_told_with_its_user(running: Up, start: Starter) -> None:
    first = running
    second = start("--data", str(first.data))
    assert second.ends() == 1
    assert second.log.count("\n") == 1
    assert str(first.data) in second.log
    assert str(first.process.pid) in second.log
    assert answers("127.0.0.1", first.port)


@pytest.mark.parametrize(
    ("flags", "environment", "told"),
    [
        (("--port", "many"), {}, "--port"),
        (("--redis-url", "localhost"), {}, "--redis-url"),
        (("--data", "/dev/null"), {}, "--data"),
        ((), {"DEPOT_ZONE": "Nowhere!"}, "DEPOT_ZONE"),
        ((), {"DEPOT_SECRET_KEY": "short"}, "DEPOT_SECRET_KEY"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(
    start: Starter, flags: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    up = start(*flags, **environment)
    assert up.ends() == 2
    assert up.log.count("\n") == 1
    assert told in up.log


def test_no_secret_can_be_given_on_the_command_line() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    assert "hub_token" in secrets
    assert not secrets & {parameter.name for parameter in command.params}


def test_a_part_that_cannot_start_is_told_rather_than_waited_for(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nif 'serve' in sys.orig_argv: os._exit(7)\n")
    up = start(PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert up.ends() == 1
    assert "exit code 7" in up.log
    assert "the api doesn't start" in up.log


def _status_with(port: int, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.get(f"http://127.0.0.1:{port}/v2/ai/model", headers=headers, timeout=10).status_code


def _running() -> set[int]:
    return {pid for pid in processes() if alive(pid)}
