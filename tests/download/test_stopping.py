"""A download that is asked to stop saves what it has and ends, whatever its main thread is at."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import BUSY

_WAITS = """
import signal, sys, threading, time
from pathlib import Path
from worker.download.stopping import save_and_exit_on_sigterm

save_and_exit_on_sigterm(Path(sys.argv[1]).touch)
never = threading.Lock()
never.acquire()
{arrives}
print("waits", flush=True)
never.acquire()
"""
_ELSEWHERE = """
def take():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    threading.Event().wait()
threading.Thread(target=take, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
"""
"""The main thread is not woken by the signal, as if that had come just before it began to wait."""


@pytest.mark.parametrize("arrives", ["", _ELSEWHERE], ids=["while it waits", "just before"])
def test_what_arrived_is_saved_whatever_the_main_thread_waits_for(tmp_path: Path, arrives: str) -> None:
    saved = tmp_path / "saved"
    words = [sys.executable, "-c", _WAITS.format(arrives=arrives), str(saved)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"waits\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(BUSY) == 0
        finally:
            process.kill()
    assert saved.exists()
