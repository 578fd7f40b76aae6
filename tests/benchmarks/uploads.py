"""Downloads into a bucket, against those into a folder: `python -m tests.benchmarks.uploads [--folder /dev/shm]`.

nginx on loopback is the Hub, over TLS; versitygw, over a folder of the same file system, is the object store, over plain
HTTP: botocore hashes each part once more, to sign it, which it does not over TLS. CPU and memory are the download's
process alone. Figures are medians of the rounds.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from tests.benchmarks.costs import Cost, of_all, of_download, of_upload
from tests.benchmarks.nginx import Nginx
from tests.buckets import Versity
from tests.fakehub.certificates import Certificates

GIB = 1 << 30
_NAME = "bench/one"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where to read and write")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=float, default=1.0, help="of the file, in GiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as name:
        folder = Path(name)
        hub = Nginx(folder / "near", Certificates(folder))
        hub.add(_NAME, {"model.safetensors": int(options.size * GIB)})
        with hub, Versity(folder / "store") as store:
            costs: dict[str, list[Cost]] = {"folder": [], "bucket": []}
            site = hub.site("https")
            for _ in range(options.rounds):
                target = folder / "target"
                costs["folder"].append(of_download(site, _NAME, target))
                shutil.rmtree(target)
                costs["bucket"].append(of_upload(site, _NAME, store.place()))
    print(f"{options.size:g} GiB to a{'wall':>12} {'CPU/GiB':>12} {'memory':>9} {'switches/GiB':>13}")
    for way, values in costs.items():
        cost = of_all(values)
        print(
            f"  {way:8} {cost.wall:8.2f} s {cost.cpu / options.size:9.2f} s {cost.memory:6.0f} MB "
            f"{cost.switches / options.size:13.0f}"
        )


if __name__ == "__main__":
    main()
