"""The process that forks those of the downloads, as a worker uses it."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.domain.errors import TryAgain
from app.storage.posix import PosixStore
from tests.fakehub.hub import Hub
from tests.faults.watching import children, forked
from tests.processes import alive, family, parent_of, said, until
from tests.storage.attempts import LABEL
from worker.download.protocol import DownloadRequest, Located, Message, Planned, Resolved
from worker.processes import DownloadPool, DownloadProcess


@pytest.fixture(params=[False, True], ids=["to a folder", "to a bucket"])
async def download_pool(
    request: pytest.FixtureRequest, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DownloadPool]:
    hub.add("acme/tiny", {"config.json": b"{}"})
    PosixStore(tmp_path).prepare()
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/tests")
    download_pool = DownloadPool(hub.endpoint, str(tmp_path / "cache"), 0, to_bucket=request.param)
    yield download_pool
    await download_pool.close()
    assert not any(forked(pid) for pid in family(os.getpid()))


async def test_a_child_shares_no_pipe_with_another_or_with_what_forks_them(
    download_pool: DownloadPool, hub: Hub, tmp_path: Path
) -> None:
    async with download_pool.child() as one, download_pool.child() as other:
        for child in (one, other):
            await _resolves(child, hub, tmp_path)
        first, second = children(os.getpid())
        server = parent_of(first)
        # A pipe that somebody else holds, too, does not end with its process.
        held = [_pipes(pid) for pid in (first, second, server)]
        assert held[0]
        assert held[1]
        assert not held[0] & held[1] | (held[0] | held[1]) & held[2]
        # One that forks must have no other threads.
        assert _threads(server) == 1
        # What an object store takes is there before, and only where there is one.
        to_bucket = "app.storage.s3" in said(server, "cmdline")
        assert ("AWS_ROLE_ARN" in said(server, "environ")) == to_bucket


async def test_a_child_that_hears_nothing_is_gone_all_the_same(
    download_pool: DownloadPool, hub: Hub, tmp_path: Path
) -> None:
    async with download_pool.child() as child:
        await _resolves(child, hub, tmp_path)
        (pid,) = children(os.getpid())
        os.kill(pid, signal.SIGSTOP)
    until(lambda: not Path(f"/proc/{pid}").exists(), str)


async def test_a_child_that_dies_is_told_and_there_is_another(
    download_pool: DownloadPool, hub: Hub, tmp_path: Path
) -> None:
    async with download_pool.child() as child:
        await _resolves(child, hub, tmp_path)
        (pid,) = children(os.getpid())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TryAgain, match="ended unexpectedly"):
            await _next(child)
    async with download_pool.child() as child:
        await _resolves(child, hub, tmp_path)


async def test_what_forks_them_may_die_and_be_replaced_while_a_child_is_at_work(
    download_pool: DownloadPool, hub: Hub, tmp_path: Path
) -> None:
    async with download_pool.child() as child:
        await _resolves(child, hub, tmp_path)
        (pid,) = children(os.getpid())
        server = parent_of(pid)
        os.kill(server, signal.SIGKILL)
        until(lambda: not alive(server), str)
        async with download_pool.child() as another:
            await _resolves(another, hub, tmp_path)
        child.send(Located({}))
        assert isinstance(await _next(child), Planned)
    until(lambda: not alive(pid), str)


async def _resolves(child: DownloadProcess, hub: Hub, storage: Path) -> None:
    """Have it ask the Hub what there is; then it waits to be told more."""
    request = DownloadRequest(
        model_id=uuid4(),
        label=LABEL,
        operation_id=uuid4(),
        fence=1,
        mends=False,
        name="acme/tiny",
        revision="main",
        commit=None,
        include=[],
        exclude=[],
        token=None,
        endpoint=hub.endpoint,
        redirects_inside=False,
        storage=str(storage),
        lease=60,
        connections=1,
        backoff=1,
        xet="auto",
        fetcher="own",
        stall_window=30,
        stall_rate=0,
    )
    child.send(request)
    assert isinstance(await _next(child), Resolved)


async def _next(child: DownloadProcess) -> Message:
    return await anext(child.messages())


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _pipes(pid: int) -> set[str]:
    """Those that a process holds, but for standard error."""
    handles = [handle for handle in Path(f"/proc/{pid}/fd").iterdir() if handle.name != "2"]
    return {target for handle in handles if (target := str(handle.readlink())).startswith("pipe:")}
