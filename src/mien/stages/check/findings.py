"""What each gate looks for in the material of a version, and the cases that show it.

Nothing is judged here: a finding is names, how many were looked at, and a few cases to look at.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mien.errors import WeightsError
from mien.reporting import console
from mien.task import SPLITS, Gate, Sample, Split

from . import gates, material
from .gates import Case, Found, Outcome
from .material import Cluster, Material
from .shortcuts import Shortcut

SHOWN = 24
"""Samples that the cases of one gate show at most."""
_TOGETHER = 4
"""Samples of one cluster that a case shows at most."""
EARLIER: Mapping[Split, Sequence[Split]] = {"val": ("train",), "test": ("train", "val")}
"""Where the model, or the choice of it, has seen what a split must not hold."""
_NOTHING = "no label"


@dataclass
class Search:
    """The material, and what was found out of it once for several gates."""

    material: Material
    shortcut: Shortcut | None = None
    required: bool = False
    """Whether a gate that stops a training needs the number of subjects."""
    uncounted: str = ""
    """Why subjects could not be counted; "" where they could, or were not asked for."""
    _subjects: dict[int, int] | None = field(default=None, repr=False)

    @property
    def subjects(self) -> dict[int, int]:
        """Number of subjects by place of the sample; counted when first asked for.

        None where what counts them cannot be fetched, which is said: their gates are then off.
        """
        if self._subjects is None:
            try:
                self._subjects = material.subjects(self.material)
            except WeightsError as error:  # weights of others: a machine may have no network
                if self.required:
                    raise
                console.info(f"Subjects are not counted: {error}")
                self._subjects = {}
                self.uncounted = str(error)
        return self._subjects


def outcomes(search: Search, chosen: Mapping[str, Gate]) -> tuple[Outcome, ...]:
    """Every gate, judged; what is switched off is not looked for.

    Raises:
        ValueError: the task found a fault for which it has no gate.
    """
    task, inspect = search.material.task, search.material.inspect
    astray = sorted(set(inspect.faults) - set(task.data.gates))
    if astray:
        raise ValueError(f"the task {task.name} has no gate for its faults: {', '.join(astray)}")
    search.required = "error" in {chosen[gates.NOBODY].level, chosen[gates.SEVERAL].level}
    judged = []
    for name, gate in chosen.items():
        look = _FINDERS.get(name)
        if gate.level == "off":
            found = Found()
        elif name in task.data.gates or look is None:
            found = _of_task(search.material, name)
        else:
            found = look(search)
        judged.append(gates.judge(name, gate, found))
    return tuple(judged)


def counts(held: Material) -> dict[str, dict[str, int]]:
    """Subjects by split and label, the task's labels first.

    Without any split everything is to train; beside others, what has no split is never used.
    """
    samples, labels = held.samples, held.task.labels
    divided = any(sample.split for sample in samples)
    found: dict[str, Counter[str]] = {}
    for sample in samples:
        split = sample.split or ("unused" if divided else "train")
        found.setdefault(split, Counter()).update(sample.labels or (_NOTHING,))
    others = sorted({label for each in found.values() for label in each} - set(labels))
    return {
        split: {label: found[split][label] for label in (*labels, *others)}
        for split in (*SPLITS, "unused")
        if split in found
    }


def said(sample: Sample) -> str:
    """Label and split of a sample in words."""
    labels = " + ".join(sample.labels) or _NOTHING
    return f"{labels} in {sample.split}" if sample.split else labels


def superfluous(samples: Sequence[Sample], clusters: Iterable[Cluster]) -> list[int]:
    """All but the first sample of each content in each cluster, those of one content left out."""
    found = []
    for cluster in clusters:
        first = {samples[place].digest: place for place in reversed(cluster)}
        found += sorted(first.values())[1:]
    return found


def conflicts(samples: Sequence[Sample], clusters: Iterable[Cluster]) -> list[tuple[int, ...]]:
    """Of each cluster with several labels, the members that do not carry its commonest one."""
    found = []
    for cluster in clusters:
        labels = Counter(_labels(samples[place]) for place in cluster)
        common = labels.most_common(1)[0][0]
        odd = tuple(place for place in cluster if _labels(samples[place]) != common)
        if odd:
            found.append(odd)
    return found


def _labels(sample: Sample) -> tuple[str, ...]:
    return tuple(sorted(sample.labels))


def _unreadable(search: Search) -> Found:
    held = search.material
    if held.looks is None:
        return Found()
    why = held.looks.why
    places = [place for place in held.rows if not held.readable(place)]
    cases = [Case((held.samples[each].name,), why[held.rows[each]]) for each in places[:SHOWN]]
    return Found(_names(held, places), len(held.rows), tuple(cases))


def _exact(search: Search) -> Found:
    held = search.material
    places = [place for cluster in held.exact for place in cluster[1:]]
    return Found(_names(held, places), len(held.samples), _clusters(held, held.exact))


def _near(search: Search) -> Found:
    held = search.material
    samples = held.samples
    alike = [each for each in held.near if len({samples[place].digest for place in each}) > 1]
    shown = [_one_of_each(samples, cluster) for cluster in alike]
    places = superfluous(samples, alike)
    return Found(_names(held, places), len(samples), _clusters(held, shown))


def _exact_across(search: Search) -> Found:
    held = search.material
    return _pairs(held, held.seen(held.exact, EARLIER))


def _near_across(search: Search) -> Found:
    held = search.material
    exact = held.seen(held.exact, EARLIER)
    pairs = held.seen(held.near, EARLIER)
    return _pairs(held, {place: twin for place, twin in pairs.items() if place not in exact})


def _people(search: Search) -> Found:
    """Samples of known people; those at fault show somebody of an earlier split."""
    held, people = search.material, Counter[str]()
    known: dict[str, list[int]] = {}
    for place, sample in enumerate(held.samples):
        if sample.person and sample.split:
            known.setdefault(sample.person, []).append(place)
    seen = held.seen([tuple(places) for places in known.values()], EARLIER)
    people.update(held.samples[place].person for place in seen)
    cases = [
        Case((held.samples[known[person][0]].name,), f"{person}: {number} in val or test")
        for person, number in people.most_common(SHOWN)
    ]
    return Found(_names(held, seen), sum(map(len, known.values())), tuple(cases))


def _conflicts(search: Search) -> Found:
    held = search.material
    odd = conflicts(held.samples, held.same)
    home = {place: cluster for cluster in held.same for place in cluster}
    shown = []
    for places in odd:
        others = [each for each in home[places[0]] if each not in places]
        shown.append((others[0], *places))
    wrong = [place for each in odd for place in each]
    return Found(_names(held, wrong), len(held.samples), _clusters(held, shown))


def _empty(search: Search) -> Found:
    labels = search.material.task.labels
    there = counts(search.material).get("train", {})
    missing = tuple(label for label in labels if not there.get(label))
    return Found(missing, len(labels), tuple(Case((each,), "0 in train") for each in missing))


def _imbalance(search: Search) -> Found:
    there = counts(search.material).get("train", {})
    sizes = {label: there[label] for label in search.material.task.labels if there.get(label)}
    if not sizes:
        return Found()
    least, most = min(sizes, key=lambda each: sizes[each]), max(sizes, key=lambda each: sizes[each])
    lack = sizes[most] - sizes[least]
    cases = tuple(Case((each,), f"{sizes[each]:,} in train") for each in (least, most))
    return Found((least,) if lack else (), sizes[most], cases if lack else (), lack)


def _shortcut(search: Search) -> Found:
    found = search.shortcut
    if found is None:
        return Found()
    labelled = len(material.labelled(search.material))
    over = [each for each in found.by_fact if each[1] > found.majority]
    said = f"right, where the commonest label is right in {found.majority:.1%}"
    cases = tuple(Case((name,), f"alone {accuracy:.1%} {said}") for name, accuracy in over)
    number = max(0, round((found.accuracy - found.majority) * labelled))
    return Found(tuple(name for name, _ in over), labelled, cases, number)


def _nobody(search: Search) -> Found:
    held, seen = search.material, search.subjects
    places = [place for place, number in seen.items() if not number]
    return Found(_names(held, places), len(seen), _singles(held, places))


def _several(search: Search) -> Found:
    held, seen = search.material, search.subjects
    places = [place for place, each in seen.items() if each > len(held.samples[place].labels)]
    samples = held.samples
    cases = [
        Case((samples[place].name,), f"{seen[place]} found; {said(samples[place])}")
        for place in places[:SHOWN]
    ]
    return Found(_names(held, places), len(seen), tuple(cases))


_FINDERS: Mapping[str, Callable[[Search], Found]] = {
    gates.UNREADABLE: _unreadable,
    gates.EXACT: _exact,
    gates.EXACT_ACROSS: _exact_across,
    gates.NEAR: _near,
    gates.NEAR_ACROSS: _near_across,
    gates.PEOPLE: _people,
    gates.CONFLICTS: _conflicts,
    gates.EMPTY: _empty,
    gates.IMBALANCE: _imbalance,
    gates.SHORTCUT: _shortcut,
    gates.NOBODY: _nobody,
    gates.SEVERAL: _several,
}


def _of_task(held: Material, name: str) -> Found:
    """What the task itself found; a name may be that of a file that is no sample."""
    names = held.inspect.faults.get(name, ())
    total = held.inspect.totals.get(name, len(held.samples))
    known = {sample.name: sample for sample in held.samples}
    cases = [Case((each,), said(known[each]) if each in known else "") for each in names[:SHOWN]]
    return Found(tuple(names), total, tuple(cases))


def _pairs(held: Material, pairs: Mapping[int, int]) -> Found:
    """Samples of val and test with the copy that was seen before."""
    asked = sum(sample.split in EARLIER for sample in held.samples)
    return Found(_names(held, pairs), asked, _clusters(held, list(pairs.items())))


def _names(held: Material, places: Iterable[int]) -> tuple[str, ...]:
    return tuple(held.samples[place].name for place in places)


def _singles(held: Material, places: Sequence[int]) -> tuple[Case, ...]:
    return _clusters(held, [(place,) for place in places])


def _clusters(held: Material, clusters: Iterable[Sequence[int]]) -> tuple[Case, ...]:
    """Cases of samples that belong together, as many as may be shown."""
    cases: list[Case] = []
    left = SHOWN
    for cluster in clusters:
        shown = cluster[:_TOGETHER]
        if len(shown) > left:
            break
        left -= len(shown)
        more = f" and {len(cluster) - len(shown)} more" if len(cluster) > len(shown) else ""
        words = "; ".join(said(held.samples[place]) for place in shown) + more
        cases.append(Case(_names(held, shown), words))
    return tuple(cases)


def _one_of_each(samples: Sequence[Sample], cluster: Cluster) -> tuple[int, ...]:
    first = {samples[place].digest: place for place in reversed(cluster)}
    return tuple(sorted(first.values()))
