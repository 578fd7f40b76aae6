"""The arguments of a command."""

from dataclasses import dataclass

from app.db.session import Database
from app.depot.arrivals import Arrivals
from app.sealing import Sealer
from app.services.leases import Claim
from app.storage.base import Store
from app.storage.locations import S3Options
from app.wakeup import Wakeup
from worker.heartbeat import LeaseHeartbeat
from worker.metrics import WorkerMetrics
from worker.processes import DownloadPool


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Shared by all operations of a worker. `reserve` is the bytes to leave free; durations are in seconds."""

    database: Database
    wakeup: Wakeup
    arrivals: Arrivals
    metrics: WorkerMetrics
    storage: Store
    download_pool: DownloadPool
    sealer: Sealer
    hub_endpoint: str
    redirects_inside: bool
    lease: float
    reserve: int
    quota: int
    """Most bytes that all models may take; 0 for no limit."""
    keep_partial: bool
    """Whether partial files stay when the disk is full."""
    connections: int
    backoff: float
    xet: str
    fetcher: str
    s3: S3Options
    """How the storage is reached if it is a bucket."""
    memory: int
    """Bytes for parts that one download sends to it."""
    stall_window: float
    stall_rate: float


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed operation."""

    claim: Claim
    heartbeat: LeaseHeartbeat
    context: WorkerContext
    small: int | None
    """Most bytes of a model for this slot; `None` for any size."""
