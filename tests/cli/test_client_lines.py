"""The commands over lines that are not what they should be, and with keys that may not do everything."""

import http.client
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.cli.shell import Shell
from tests.faults.relays import Relay
from tests.processes import until
from tests.terminal import Terminal, modeldepot


class _NoStreams(BaseHTTPRequestHandler):
    """Passes requests on to the API at `port`, but for streams of events, which it has no patience for."""

    def __init__(self, port: int, *given: object) -> None:
        self._port = port
        super().__init__(*given)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path.endswith("/events"):
            self.send_error(http.HTTPStatus.BAD_GATEWAY)
            return
        api = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        api.request(self.command, self.path, body, dict(self.headers))
        answer = api.getresponse()
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(answer.read())
        api.close()

    do_POST = do_GET  # noqa: N815  # the server calls it so

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _proxy(port: int) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_NoStreams, port)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_where_no_stream_gets_through_the_progress_is_asked_for(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository(4 << 20)
    with (
        _proxy(shell.depot.port) as url,
        Terminal(tmp_path, shell.environment | {"DEPOT_URL": url}, "pull", name) as it,
    ):
        assert it.ends() == 0, it.shown
        assert "% |" in it.shown
        assert Path(it.output.strip()).is_dir()


def test_a_certificate_is_verified_against_the_authorities_that_one_names(shell: Shell, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with Relay(("127.0.0.1", shell.depot.port), context) as relay:
        secure = {"DEPOT_URL": f"https://127.0.0.1:{relay.port}"}
        refused = shell.run("ls", **secure)
        assert (refused.returncode, "SSL_CERT_FILE" in refused.stderr) == (3, True)
        shell.done("ls", **secure | {"SSL_CERT_FILE": str(tmp_path / "authority.pem")})


def test_a_depot_that_accepts_and_says_nothing_is_not_waited_for(shell: Shell) -> None:
    """What completes a name is: the shell waits meanwhile."""
    name = shell.ready()
    asks = {"COMP_WORDS": "modeldepot show acme/", "COMP_CWORD": "2", "_MODELDEPOT_COMPLETE": "bash_complete"}
    until(lambda: name in shell.done(**asks), shell.depot.logs)
    assert shell.depot.api is not None
    shell.depot.api.send_signal(signal.SIGSTOP)
    try:
        assert name not in shell.done(**asks)
    finally:
        shell.depot.api.send_signal(signal.SIGCONT)


def test_a_model_on_its_way_out_is_asked_for_anew_once_it_is_gone(shell: Shell, tmp_path: Path) -> None:
    name = shell.repository()
    shell.done("pull", name)
    worker = shell.depot.workers.pop()
    worker.terminate()
    worker.wait()
    shell.done("rm", name, "--no-wait")
    former = shell.id_of(name)
    with Terminal(tmp_path, shell.environment, "pull", name) as terminal:
        until(lambda: former in terminal.shown, lambda: terminal.shown)
        shell.depot.start_worker()
        assert terminal.ends() == 0, terminal.shown
        assert Path(terminal.output.strip()).is_dir()
    assert shell.id_of(name) != former


def test_a_reader_may_look_and_is_told_what_it_may_not(shell: Shell) -> None:
    name = shell.ready()
    made = modeldepot(shell.depot.environment, "key", "create", "--role", "reader")
    key, secret = (line.split()[1] for line in made.stdout.splitlines()[:2])
    reader = {"DEPOT_KEY": key, "DEPOT_SECRET": secret}
    assert name in shell.done("ls", **reader)
    for words in (("rm", name), ("pull", "acme/other")):
        refused = shell.run(*words, **reader)
        assert (refused.returncode, key in refused.stderr, secret in refused.stderr) == (4, True, False)


@pytest.mark.parametrize("words", [("pull", "acme/x"), ("ls",)])
def test_what_a_proxy_says_instead_of_the_depot_is_told(shell: Shell, words: tuple[str, ...]) -> None:
    """Its own error page is no answer of a depot."""
    url = {"DEPOT_URL": shell.hub.endpoint}
    refused = shell.run(*words, **url)
    assert (refused.returncode, refused.stderr.count(os.linesep)) == (2, 1)
    assert "DEPOT_URL" in refused.stderr
