"""Whether the two cores of a bench are cores: threads of one processor slow each other.

What runs beside a measured server on the other core then takes its time too.
"""

import subprocess
import sys
from statistics import median

TURNS = 5
SECONDS = 0.5
_LOOP = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
rounds, end = 0, time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end:
    sum(range(1000))
    rounds += 1
print(rounds)
"""


def crowding(core: int, other: int) -> float:
    """How many times as long a loop on one core takes while the other is busy: 1 is a real core,
    2 the same one twice. The median of turns."""
    ratios = []
    for _ in range(TURNS):
        alone = _rounds(_start(core, SECONDS))
        beside = _start(other, 4 * SECONDS)
        ratios.append(alone / _rounds(_start(core, SECONDS)))
        beside.kill()
        beside.communicate()
    return median(ratios)


def _start(core: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-I", "-c", _LOOP, str(core), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _rounds(process: "subprocess.Popen[str]") -> int:
    return int(process.communicate()[0])
