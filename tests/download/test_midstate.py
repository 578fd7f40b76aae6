"""A checksum goes on in another process where it ended in this one."""

import subprocess
import sys

import pytest

from tests.fakehub.content import Bytes
from worker.download.checksums import Checksum
from worker.download.listing import HubFile
from worker.download.midstate import ResumableChecksum, is_possible

DATA = bytes(range(256)) * 1000
FILES = [
    HubFile("model.bin", len(DATA), "0" * 40, Bytes(DATA).sha256),
    HubFile("vocabulary.txt", len(DATA), Bytes(DATA).oid, None),
]
_GOES_ON = """
import sys
from worker.download.listing import HubFile
from worker.download.midstate import ResumableChecksum
path, size, blob_id, sha256, state = sys.argv[1:]
checksum = ResumableChecksum(HubFile(path, int(size), blob_id, sha256 or None), bytes.fromhex(state))
checksum.update(sys.stdin.buffer.read())
print(checksum.matches(), checksum.sha256)
"""


def test_states_can_be_saved_here() -> None:
    assert is_possible()


@pytest.mark.parametrize("file", FILES, ids=["sha256", "git"])
@pytest.mark.parametrize("split", [0, 1, 63, 64, 100_000, len(DATA)])
def test_another_process_goes_on_from_a_saved_state(file: HubFile, split: int) -> None:
    first = ResumableChecksum(file)
    first.update(memoryview(bytearray(DATA[:split])))
    assert ResumableChecksum.goes_on(file, first.state)
    words = [file.path, str(file.size), file.blob_id, file.sha256 or "", first.state.hex()]
    done = subprocess.run([sys.executable, "-c", _GOES_ON, *words], input=DATA[split:], capture_output=True, check=True)
    assert done.stdout.decode().split() == ["True", Bytes(DATA).sha256]
    first.update(DATA[split:])
    assert first.matches()
    assert first.sha256 == first.sha256 == Bytes(DATA).sha256, "reading it changes it"


@pytest.mark.parametrize("file", FILES, ids=["sha256", "git"])
def test_it_differs_where_a_plain_checksum_does(file: HubFile) -> None:
    for checksum in (ResumableChecksum(file), Checksum(file)):
        checksum.update(DATA[:-1] + b"x")
        assert not checksum.matches()


def test_what_is_no_state_of_the_files_checksum_is_not_gone_on_from() -> None:
    lfs, git = FILES
    assert not ResumableChecksum.goes_on(lfs, ResumableChecksum(git).state)
    assert not ResumableChecksum.goes_on(git, ResumableChecksum(lfs).state)
    assert not ResumableChecksum.goes_on(lfs, b"")
