"""The page docs/source/performance.md: targets, tables and one plot, out of what was measured."""

import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

import mien
from bench import cpu, servers
from bench.page import ROOT, code, table
from bench.rounds import CLIENTS, CROWD, PAUSE, RAW, Key, Plan, Seen, middle
from bench.servers import OBVIOUS, OURS, Server
from bench.starts import Footprint
from bench.workloads import Workload
from mien.model import cpus
from mien.reporting import figures

PAGE = ROOT / "docs" / "source" / "performance.md"
SATURATED = 8
"""Clients at which throughput is held against the raw limit; more of them only wait longer."""
DELAY = 1.15
TIMES = 3.0
START_SECONDS = 1.5
BOTH_MB, LANDMARKS_MB = 350.0, 150.0
COLOURS = (figures.ACCENT, "#89b0ae", "#e9c46a", "#b08ea2", figures.QUIET)
Row = dict[str, object]


def write(
    path: Path,
    seen: Seen,
    taken: Footprint,
    known: Sequence[Server],
    asked: Sequence[Workload],
    plan: Plan,
) -> str:
    """Write the page and, beside it, its plot; gives the page."""
    names = [server.name for server in known if server.name not in seen.absent]
    plot = path.with_suffix(".png")
    _plot(plot, seen, names, asked)
    text = "\n\n".join(
        [
            *_head(seen),
            "## CPU time",
            *cpu.ratios(seen, asked),
            "## Targets",
            table(list(_targets(seen, taken, names, asked))),
            f"![Throughput of each server, as a share of the raw limit]({plot.name})",
            _PLOT,
            "## One client",
            f"{_ALONE} {_CROWDED.format(seen.crowding)}",
            table(list(_alone(seen, asked))),
            "## Every server on every workload",
            *_tables(seen, names, asked),
            "## Start and memory",
            _footprint(taken),
            "## How it was measured",
            *_how(seen, known, plan, asked),
        ]
    )
    path.write_text(text + "\n", encoding="utf-8")
    return text


def _head(seen: Seen) -> list[str]:
    parts = [
        "# Performance",
        "Made by `python3 tasks.py bench serving` on "
        f"{cpus.available_cpus()} cores ({_processor()}), {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, {code()}. "
        "The server has one core, the load generator the other.",
        "`mien serve` against the raw limit (the same function in a loop, without HTTP), a simple "
        "stack of FastAPI and PyTorch, and three model servers. CPU time comes first: time on the "
        "wall depends on the machine too. 'not significant': the 95 % interval has the target.",
    ]
    parts += [f"**NOT MEASURED: {reason}**" for reason in seen.absent.values()]
    broken = [
        f"{name}, {workload}, {clients} clients: {dict(seen.faults(key))}"
        for key in seen.slices
        for workload, name, clients in [key]
        if seen.faults(key)
    ]
    if broken:
        parts.append(f"**INVALID, for not all answers were good: {'; '.join(broken)}**")
    return parts


# Targets.


def _targets(
    seen: Seen, taken: Footprint, names: Sequence[str], asked: Sequence[Workload]
) -> Iterator[Row]:
    for workload in asked:
        goal = f"{workload.name}: at least {workload.share:.2f} of the raw limit"
        found = seen.ratios.get((workload.name, RAW, SATURATED), [])
        yield _judged(seen, goal, (workload.name, OURS, SATURATED), found, workload.share)
    for workload in asked:
        if not workload.is_json:
            goal = f"{workload.name}: p50 of one client at most {DELAY:.2f} times the raw call"
            found = seen.delays.get(workload.name, [])
            yield _judged(seen, goal, (workload.name, OURS, 1), found, DELAY, below=True)
    for name in names:
        if name == OBVIOUS:
            yield _least(seen, name, asked, TIMES)
        elif name != OURS:
            yield _least(seen, name, asked, 1.0)
            yield _least_tail(seen, name, asked)
    first = middle(taken.first)
    goal = f"first predictions of both models within {START_SECONDS} s of the start"
    yield _row(goal, _interval(first, " s"), _comparison(first, START_SECONDS, below=True))
    for what, found_mb, limit in (
        ("both models", taken.both, BOTH_MB),
        ("gestures from landmarks alone", taken.landmarks, LANDMARKS_MB),
    ):
        goal = f"{what}: under {limit:.0f} MB after the work"
        yield _row(goal, f"{found_mb:.0f} MB", _target_state(found_mb < limit))


_ALONE = (
    "Between two requests of a single client the core is idle, and other work evicts code and "
    "weights from its caches. The raw call after a pause of "
    f"{1e6 * PAUSE:.0f} us shows this part of the difference. Medians, in ms."
)
_CROWDED = (
    "While the core of the load generator is busy, a loop on that of the servers takes {:.2f} "
    "times as long: 1 would be cores of their own, and what is more is taken from every server "
    "here and not from the raw limit, beside which no load runs."
)


def _alone(seen: Seen, asked: Sequence[Workload]) -> Iterator[Row]:
    for workload in asked:
        if not all(seen.good((workload.name, who, 1)) for who in (RAW, OURS)):
            continue
        raw, own = (median(seen.latencies((workload.name, who, 1))) for who in (RAW, OURS))
        rested = median(seen.rested[workload.name])
        yield {
            "": workload.name,
            "raw call": f"{1e3 * raw:.2f}",
            "raw call after a rest": f"{1e3 * rested:.2f}",
            "mien, p50": f"{1e3 * own:.2f}",
            "mien - raw call": f"{1e3 * (own - raw):.2f}",
            "mien / raw call after a rest": f"{own / rested:.2f}",
        }


def _judged(
    seen: Seen, goal: str, key: Key, found: Sequence[float], limit: float, below: bool = False
) -> Row:
    """A target of mien alone; `key` says whose answers must all be good."""
    if not found or not seen.good(key):
        return _row(goal, "not all answers were good", "INVALID")
    ratio = middle(found)
    return _row(goal, _interval(ratio), _comparison(ratio, limit, below))


def _row(goal: str, measured: str, result: str) -> Row:
    return {"target": goal, "measured (95 % interval)": measured, "": result}


def _least(seen: Seen, name: str, asked: Sequence[Workload], wanted: float) -> Row:
    """The workload and number of clients where mien is ahead of a rival by the least."""
    ahead = f"{wanted:.0f} times" if wanted > 1 else "ahead of"
    goal = f"throughput: {ahead} {name}, everywhere"
    found = {
        place: middle(seen.ratios[place[0], name, place[1]])
        for place in _compared(seen, name, asked)
    }
    if not found:
        return _row(goal, "no good answers", "INVALID")
    least = min(found, key=lambda place: found[place][1])
    missed = sum(ratio < wanted for _, ratio, _ in found.values())
    where = f"least: {_interval(found[least])} ({_place(least)})"
    return _row(goal, where + _missed(missed, len(found)), _comparison(found[least], wanted))


def _least_tail(seen: Seen, name: str, asked: Sequence[Workload]) -> Row:
    goal = f"p99: shorter than that of {name}, everywhere"
    found = {
        place: _tail(seen, place, name) / _tail(seen, place, OURS)
        for place in _compared(seen, name, asked)
    }
    if not found:
        return _row(goal, "no good answers", "INVALID")
    least = min(found, key=lambda place: found[place])
    missed = sum(ratio < 1 for ratio in found.values())
    where = f"least: its p99 is {found[least]:.2f} times mien's ({_place(least)})"
    return _row(goal, where + _missed(missed, len(found)), _target_state(not missed))


def _compared(seen: Seen, name: str, asked: Sequence[Workload]) -> list[tuple[str, int]]:
    """Workloads and clients where both answered all questions well."""
    places = [(workload.name, clients) for workload in asked for clients in CLIENTS]
    return [
        place
        for place in places
        if all(seen.good((place[0], each, place[1])) for each in (name, OURS))
    ]


def _place(place: tuple[str, int]) -> str:
    return f"{place[0]}, {place[1]} client{'s' if place[1] > 1 else ''}"


def _missed(missed: int, count: int) -> str:
    return f"; missed in {missed} of {count}" if missed else ""


def _tail(seen: Seen, place: tuple[str, int], name: str) -> float:
    return _quantile(seen.latencies((place[0], name, place[1])), 0.99)


def _comparison(found: tuple[float, float, float], limit: float, below: bool = False) -> str:
    low, ratio, high = found
    kept = ratio < limit if below else ratio >= limit
    return _target_state(kept) + (", not significant" if low < limit < high else "")


def _target_state(kept: bool) -> str:
    return "reached" if kept else "MISSED"


def _interval(found: tuple[float, float, float], unit: str = "") -> str:
    low, value, high = found
    return f"{value:.2f}{unit} ({low:.2f} to {high:.2f})"


# Tables.


def _tables(seen: Seen, names: Sequence[str], asked: Sequence[Workload]) -> Iterator[str]:
    yield (
        f"Medians over slices; p50 and p99 over all requests, in ms. 'mien / it' is the "
        f"throughput of mien divided by that of the other at {SATURATED} clients, in slices that "
        "follow each other; absolute numbers of servers cannot be compared as well, as the "
        "speed of the machine varies. The raw limit is one loop, for any number of clients."
    )
    for workload in asked:
        yield f"### {workload.name}"
        yield table([_measured(seen, workload, name) for name in (RAW, *names)])


def _measured(seen: Seen, workload: Workload, name: str) -> Row:
    row: Row = {"": name}
    for clients in CLIENTS:
        key = (workload.name, name, clients)
        if name == RAW and clients != 1:
            row |= {f"{clients}: requests/s": "", f"{clients}: p50": "", f"{clients}: p99": ""}
        elif seen.faults(key):
            row |= {
                f"{clients}: requests/s": "INVALID",
                f"{clients}: p50": "",
                f"{clients}: p99": "",
            }
        elif seen.slices.get(key):
            times = seen.latencies(key)
            row[f"{clients}: requests/s"] = f"{seen.rate(key):.1f}"
            row[f"{clients}: p50"] = f"{_quantile(times, 0.5) * 1e3:.1f}"
            row[f"{clients}: p99"] = f"{_quantile(times, 0.99) * 1e3:.1f}"
    ratios = seen.ratios.get((workload.name, name, SATURATED))
    return {**row, "mien / it": _interval(middle(ratios)) if ratios else ""}


def _quantile(ranked: Sequence[float], share: float) -> float:
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]


def _footprint(taken: Footprint) -> str:
    low, first, high = middle(taken.first)
    return (
        f"`mien serve` on one core, {len(taken.first)} starts: {first:.2f} s ({low:.2f} to "
        f"{high:.2f}) from the fork to real predictions of both models, which is "
        f"{first / taken.empty:.0f} times what `python -c pass` needs there ({taken.empty:.3f} s). "
        f"Resident after all workloads with 8 clients: {taken.both:.0f} MB with both models; "
        f"{taken.landmarks:.0f} MB with the gesture task alone, for landmarks "
        "(`params.accept_images=false`)."
    )


# How.


def _how(
    seen: Seen, known: Sequence[Server], plan: Plan, asked: Sequence[Workload]
) -> Iterator[str]:
    sizes = [
        f"{each.name} ({len(each.questions)} requests, {_kilobytes(each):.0f} kB on average)"
        for each in asked
    ]
    yield (
        f"Workloads: {'; '.join(sizes)}. Faces are files of the AffectNet set, the other pictures "
        "photos of the HaGRID set, scaled and stored as JPEG of quality 90; landmarks are rows of "
        "HaGRID hands. They are sent in turn, by clients that keep their connection and send the "
        "next request after the response to the last."
    )
    yield (
        f"All processes are started {plan.sessions} times and live side by side on one core; "
        "those whose turn it is not are stopped (SIGSTOP). A slice lasts at least "
        f"{plan.seconds} s, each has a slice of mien before or after it, and the order changes. "
        "The raw limit is measured inside mien's process, by a thread of it, with the same "
        "sessions. "
        "The first request of each client of a slice is left out of the latencies where it has a "
        f"second one; with {CROWD} clients and large photos it has not. MIEN_MAX_IN_FLIGHT is "
        f"{servers.QUEUE}: with the default of 32, mien answers 503 with Retry-After to the "
        f"other 32 clients. MIEN_DEADLINE_S is {servers.PATIENCE:.0f}. mien records every "
        "prediction in its prediction log and writes a line for each request, as always; the "
        "logs of the others are off."
    )
    yield table([_described(server, seen) for server in known])
    yield (
        "The obvious stack serves the champion's own torch weights (`work/` of its training) and "
        "the estimator that the champion was exported from, fitted again with the same settings, "
        "data and seed. MediaPipe looks once at a photo; mien looks again at its parts where it "
        "finds no hand. LitServe, BentoML and MLServer call the same functions of mien over the "
        "same bundles, as their documentation advises; bench/rivals/ has what they run."
    )


def _described(server: Server, seen: Seen) -> Row:
    same, count = seen.agreement.get(server.name, (0, 0))
    return {
        "server": server.name,
        "version": _version(server),
        "licence": server.licence or "Apache-2.0",
        "same label as mien": f"{same} of {count}" if count else "NOT MEASURED",
    }


def _version(server: Server) -> str:
    if server.package:
        return servers.version(server.package)
    if server.name == OURS:
        return mien.__version__
    names = ("fastapi", "torch", "libreyolo", "mediapipe", "scikit-learn")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


def _kilobytes(workload: Workload) -> float:
    return sum(len(each.content) for each in workload.questions) / len(workload.questions) / 1e3


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


# The plot.

_PLOT = (
    f"Throughput at {SATURATED} clients as a share of the raw limit: of mien directly, of the "
    "others by their ratio to mien. Lines: the 95 % interval of mien's share."
)


_BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}


def _plot(path: Path, seen: Seen, names: Sequence[str], asked: Sequence[Workload]) -> None:
    figure = figures.sheet(9, 1.0 + 0.2 * len(asked) * (len(names) + 1))
    axes = figure.subplots()
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        rows = [number + (place - (len(names) - 1) / 2) * height for number in range(len(asked))]
        shares = [_share(seen, workload, name) for workload in asked]
        axes.barh(rows, shares, height, label=name, color=COLOURS[place % len(COLOURS)])
        for row, share in zip(rows, shares, strict=True):
            shown = f"{share:.2f}" if share else "not measured"
            axes.text(share + 0.012, row, shown, va="center", fontsize=7, bbox=_BEHIND)
        if name == OURS:
            _whiskers(axes, seen, asked, rows)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(asked)), [workload.name for workload in asked])
    axes.invert_yaxis()
    axes.set_xlabel(f"throughput at {SATURATED} clients, raw limit = 1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(names), loc="lower center", bbox_to_anchor=(0.45, 1.0))
    figures.save(figure, path)


def _share(seen: Seen, workload: Workload, name: str) -> float:
    against_raw = seen.ratios.get((workload.name, RAW, SATURATED))
    if not against_raw or not seen.good((workload.name, name, SATURATED)):
        return 0.0
    own = median(against_raw)
    other = seen.ratios.get((workload.name, name, SATURATED)) if name != OURS else [1.0]
    return own / median(other) if other else 0.0


def _whiskers(axes: object, seen: Seen, asked: Sequence[Workload], rows: Sequence[float]) -> None:
    for row, workload in zip(rows, asked, strict=True):
        found = seen.ratios.get((workload.name, RAW, SATURATED))
        if not found:
            continue
        low, _, high = middle(found)
        axes.hlines(row, low, high, color="black", linewidth=1.2)  # type: ignore[attr-defined]
