"""Downloads into a bucket, against the script that people have: `python -m tests.benchmarks.buckets [--folder /dev/shm]`.

nginx on loopback is the Hub, over TLS; versitygw is the object store (it takes Go to build it). "depot" is the download's
own process and what publishes; "script" is `hf download` to a disk and then `aws s3 cp` of that, which verify nothing and
leave nothing to go on from. Both have their temporary files in `folder`. CPU and memory are those of the programs, without
nginx and versitygw. Figures are medians of the rounds. `uploads` compares a bucket with a folder.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benchmarks.costs import Cost, of_all, of_command, of_upload
from tests.benchmarks.downloads import limit
from tests.benchmarks.nginx import Nginx, Site
from tests.benchmarks.rivals import curl_sha256, trusting
from tests.buckets import Place, Server, Versity
from tests.environments import installed
from tests.fakehub.certificates import Certificates
from tests.faults.bucketed import BucketEngine
from worker.download.protocol import Message, Progress, Resolved, Verified

GIB, MIB, KIB = 1 << 30, 1 << 20, 1 << 10
_FASTER = 1.5
"""How much faster than the script a download into a bucket is at least."""
_MEMORY = 160
_AGAIN = 64
_AWS = "awscli==1.46.2"
Run = Callable[[Site, str, Path, Place], Cost]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the files' sizes: 0.1 for a quick look")
    parser.add_argument("--only", action="append", help="a case, by its name: one, small, kept, copied")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder, scale, only = Path(name), options.scale, options.only or ["one", "small", "kept", "copied"]
        hub = Nginx(folder / "near", Certificates(folder))
        for case, files in {
            "one": {"model.safetensors": int(4 * GIB * scale)},
            "small": {f"{n}.json": 16 * KIB for n in range(int(1000 * scale))},
            "kept": {"model.safetensors": int(2 * GIB * scale)},
            "copied": {"model.safetensors": int(GIB * scale)},
        }.items():
            if case in only:
                hub.add(f"bench/{case}", files, lfs=case != "small")
        with hub, Versity(folder / "store") as store:
            trial = Trial(folder, hub, store, options.rounds)
            if "one" in only:
                trial.compare("bench/one", _RIVALS, faster=_FASTER)
            if "small" in only:
                trial.compare("bench/small", {"script": script, "depot": depot}, faster=1.0)
            if "kept" in only:
                trial.killed("bench/kept")
            if "copied" in only:
                trial.without_disk("bench/copied")
                trial.copied("bench/copied")


def depot(site: Site, name: str, _target: Path, place: Place) -> Cost:
    return of_upload(site, name, place)


def script(site: Site, name: str, target: Path, place: Place) -> Cost:
    hf, aws = Path(sys.executable).with_name("hf"), installed("awscli", _AWS) / "aws"
    options = place.server.options
    environment = trusting(site) | {
        "HF_ENDPOINT": site.endpoint,
        "HF_HOME": str(target / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "AWS_ACCESS_KEY_ID": options.access_key,
        "AWS_SECRET_ACCESS_KEY": options.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    disk = shlex.quote(str(target / "disk"))
    fetch = f"{hf} download {name} --local-dir {disk} --quiet"
    send = f"{aws} --endpoint-url {options.endpoint} s3 cp --recursive --only-show-errors --exclude '.cache/*' {disk}"
    cost = of_command(["sh", "-ec", f"{fetch}; {send} {place.location}/"], environment)
    place.objects.delete_all([one.key for one in place.objects.below(f"{place.prefix}/")])
    return cost


def curl(site: Site, name: str, target: Path, _place: Place) -> Cost:
    """To a disk, and then every byte is hashed: what a download can't do without."""
    return curl_sha256(site, name, target)


_RIVALS: Mapping[str, Run] = {"curl+sha256": curl, "script": script, "depot": depot}


class Trial:
    """Runs in `folder`, from one Hub into one object store, each so many times."""

    def __init__(self, folder: Path, hub: Nginx, store: Server, rounds: int) -> None:
        self._hub, self._site, self._store, self._rounds = hub, hub.site("https"), store, rounds
        self._target = folder / "target"

    def compare(self, name: str, ways: Mapping[str, Run], *, faster: float) -> None:
        """Print what each costs, in turn, round after round."""
        costs: dict[str, list[Cost]] = {way: [] for way in ways}
        for _ in range(self._rounds):
            for way, run in ways.items():
                self._target.mkdir()
                costs[way].append(run(self._site, name, self._target, self._store.place()))
                shutil.rmtree(self._target)
        medians = {way: of_all(values) for way, values in costs.items()}
        size = self._site.size(name)
        print(f"\n{name}, {size / MIB:.0f} MiB{'wall':>30} {'CPU/GiB':>9} {'memory':>9}")
        for way, cost in medians.items():
            print(f"  {way:34} {cost.wall:8.2f} s {cost.cpu * GIB / size:7.2f} s {cost.memory:6.0f} MB")
        mine = medians["depot"]
        times = medians["script"].wall / mine.wall
        print(f"  {f'wall: script / depot >= {faster:.2f}':50} {times:6.2f} {'OK' if times >= faster else 'BELOW'}")
        if "curl+sha256" in medians:
            print(
                f"  {'CPU: curl+sha256 / depot, which sends it, too':50} {medians['curl+sha256'].cpu / mine.cpu:6.2f}"
            )
        limit("memory of the download, MiB", mine.memory * 1000 / 1024, _MEMORY)

    def killed(self, name: str) -> None:
        """Bytes that are fetched again after a kill at 90 %."""
        total, before = self._site.size(name), self._hub.bytes_sent()
        engine = BucketEngine(self._site, self._store.place(), name, stall_window=30.0)

        def nearly(message: Message) -> bool:
            return isinstance(message, Progress) and message.downloaded > 0.9 * total

        # Slowly, because how far it is is told twice a second.
        with engine.start(bandwidth=total // 10) as attempt:
            assert not attempt.outcome(nearly).done, "it was done before it could be killed: use larger files"
            attempt.process.kill()
        outcome = engine.run()
        assert outcome.done, outcome.messages[-1]
        engine.publish(outcome)
        print()
        limit("killed at 90 %: MiB sent twice", (self._hub.bytes_sent() - before - total) / MIB, _AGAIN)

    def without_disk(self, name: str) -> None:
        """A download whose process may not write a byte to any file."""
        engine = BucketEngine(self._site, self._store.place(), name, stall_window=30.0)
        engine.max_file_size = 0
        outcome = engine.run()
        assert outcome.done, outcome.messages[-1]
        print(f"  {'with no file of more than 0 bytes allowed':50}   done OK")

    def copied(self, name: str) -> None:
        """Seconds and bytes for a model whose files another model has: the store copies them."""
        place = self._store.place()
        first = BucketEngine(self._site, place, name, stall_window=30.0)
        outcome = first.run()
        assert outcome.done, outcome.messages[-1]
        first.publish(outcome)
        second = BucketEngine(self._site, place, name, stall_window=30.0)
        second.links = {one.sha256: first.store.copy_of(first.model_id, one.path) for one in outcome.all(Verified)}
        before, began = self._hub.bytes_sent(), time.perf_counter()
        again = second.run()
        took = time.perf_counter() - began
        assert again.done, again.messages[-1]
        total = again.last(Resolved).total
        limit("files of another model: bytes fetched", self._hub.bytes_sent() - before, 0)
        print(f"  {f'copied by the store: {total / MIB:.0f} MiB, seconds':50} {took:6.2f}")


if __name__ == "__main__":
    main()
