"""The command line of the container test, and its order; knows nothing of how a step is done."""

import argparse
import signal
import sys
from pathlib import Path

from stack import AbsentError, PromiseError, bases, compose, engine, say, shout, trial

SCRATCH = Path.home() / ".cache" / "mien" / "stack"
SKIPPED, FAILED = "THE STACK WAS NOT TESTED", "THE STACK TEST FAILED"


def main() -> int:
    """Exit status: 0 when every promise was kept or nothing could be tried, else 1."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (
            engine.running(arguments.scratch) as docker,
            trial.workspace(arguments.home, arguments.scratch) as home,
        ):
            missing = bases.obtain(docker, arguments.scratch)
            trial.build(docker)
            for tried in trial.TRIALS:  # each on a fresh stack: what one leaves alarms the next
                with compose.up(docker, home(), without=missing) as stack:
                    tried(stack)
    except AbsentError as reason:
        shout(f"{SKIPPED}: {reason}")
        return 0
    except PromiseError as reason:
        shout(f"{FAILED}: {reason}")
        return 1
    say("The stack kept every promise that was tried.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("stack-test", description="Test the Compose stack for real.")
    parser.add_argument(
        "--home", type=Path, help="a workspace with champions; without it a demo is trained"
    )
    parser.add_argument(
        "--scratch", type=Path, default=SCRATCH, help="images and a workspace are kept here"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nstack-test: stopped; everything that it started is down again.")
