"""`python -m pycupti doctor`: what this machine can trace, and the mend where it can't."""

import argparse

from pycupti.doctor import report


def main() -> int:
    """Run the command line; 0 when tracing works, 1 when it doesn't."""
    parser = argparse.ArgumentParser(prog="pycupti", description=__doc__)
    parser.add_argument("command", choices=["doctor"])
    parser.parse_args()
    lines = list(report())
    print("\n".join(lines))
    return 0 if "tracing: works" in lines else 1


if __name__ == "__main__":
    raise SystemExit(main())
