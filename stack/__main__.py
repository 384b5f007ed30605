"""The command line of the container test, and its order; knows nothing of how a step is done."""

import argparse
import signal
import sys
from pathlib import Path

from stack import (
    AbsentError,
    PromiseError,
    bases,
    compose,
    contract,
    engine,
    images,
    kubernetes,
    say,
    scale,
    shout,
    trial,
)

SCRATCH = Path.home() / ".cache" / "mien" / "stack"
PARTS = ("stack", "scale", "model", "kubernetes", "train")
FILES = {"stack": bases.COMPOSE, "scale": bases.SCALE}
TRAINED = {"stack", "model", "kubernetes"}
"""Parts that need a workspace with champions."""
SKIPPED, FAILED = "THE STACK WAS NOT TESTED", "THE STACK TEST FAILED"


def main() -> int:
    """Exit status: 0 when every promise was kept or nothing could be tried, else 1."""
    arguments = _arguments()
    parts = arguments.only or PARTS
    given = arguments.home if TRAINED & set(parts) else arguments.scratch
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (
            engine.running(arguments.scratch) as docker,
            trial.workspace(given, arguments.scratch) as home,
        ):
            files = [file for part, file in FILES.items() if part in parts]
            missing = bases.obtain(docker, arguments.scratch, *files)
            if "stack" in parts or "scale" in parts:
                images.service(docker)
            if "stack" in parts:
                for tried in trial.TRIALS:  # each on a fresh stack: what one leaves alarms the next
                    with compose.up(docker, home(), without=missing) as stack:
                        tried(stack)
            if "scale" in parts:
                images.registry(docker)
                scale.team(docker, arguments.scratch)
            if "model" in parts or "kubernetes" in parts:
                images.with_models(docker, home(), arguments.scratch)
            if "model" in parts:
                contract.cpu_limits(docker)
                contract.cloud_run(docker, home())
            if "kubernetes" in parts:
                kubernetes.serving(docker)
                kubernetes.batch(docker, arguments.scratch)
            if "train" in parts:
                images.training(docker)
                kubernetes.training(docker, arguments.scratch)
    except AbsentError as reason:
        shout(f"{SKIPPED}: {reason}")
        return 0
    except PromiseError as reason:
        shout(f"{FAILED}: {reason}")
        return 1
    say(f"Every promise that was tried was kept: {', '.join(parts)}.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "stack-test", description="Test the images and the stack for real."
    )
    parser.add_argument(
        "--home", type=Path, help="a workspace with champions; without it a demo is trained"
    )
    parser.add_argument(
        "--scratch", type=Path, default=SCRATCH, help="images and a workspace are kept here"
    )
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="try this part; default: all of them"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nstack-test: stopped; everything that it started is down again.")
