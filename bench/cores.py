"""The cores of a bench: whether two of them are one, and how none of them falls asleep.

Threads of one processor slow each other: what runs on the other core then takes time of a measured
server, too. A core that has nothing to do falls asleep, and wakes slowly.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable
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


def keep_awake(cores: Iterable[int]) -> None:
    """Let a process of the lowest priority take what each core has left, to the end of this one."""
    for core in cores:
        process = multiprocessing.get_context("spawn").Process
        process(target=_take_what_is_left, args=(core, os.getpid()), daemon=True).start()


def _take_what_is_left(core: int, parent: int) -> None:
    os.sched_setaffinity(0, {core})
    os.nice(19)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while os.getppid() == parent:
        pass


def _start(core: int, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-I", "-c", _LOOP, str(core), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _rounds(process: "subprocess.Popen[str]") -> int:
    return int(process.communicate()[0])
