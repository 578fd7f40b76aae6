"""All measurements that this package holds, one after the other: `python -m tests.benchmarks [--scale 0.1]`.

What is given goes to the downloads; `python -m tests.benchmarks.downloads --help` says what there is.
"""

import sys

from tests.benchmarks import downloads, latency


def main() -> None:
    given = sys.argv[1:]
    sys.argv[1:] = []
    latency.main()
    sys.argv[1:] = given
    downloads.main()


if __name__ == "__main__":
    main()
