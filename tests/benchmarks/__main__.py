"""All measurements that this package holds, one after the other: `python -m tests.benchmarks [--scale 0.1]`.

What is given goes to the downloads; `python -m tests.benchmarks.downloads --help` says what there is.
"""

import subprocess
import sys


def main() -> None:
    for name, words in {
        "latency": [],
        "api": [],
        "watchers": [],
        "console": [],
        "lists": [],
        "pages": [],
        "lookups": [],
        "downloads": sys.argv[1:],
        "xet": [],
    }.items():
        print(f"# {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *words], check=True)


if __name__ == "__main__":
    main()
