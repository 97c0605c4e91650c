"""`python -m sandbox.realnode`: says why there can be no real node on this machine, and fails; silent where it can."""

import sys

from sandbox.realnode import unavailable


def main() -> int:
    reason = unavailable()
    if reason is None:
        return 0
    print(reason)
    return 1


if __name__ == "__main__":
    sys.exit(main())
