"""How a benchmark is run and told: rounds, medians, ratios, and whether the goals are met.

A benchmark compares contestants that do the same work. They take turns::

    round 1   A B C
    round 2   C B A
    round 3   A B C   ...

so that a machine that slows down for a while slows all of them. Figures are medians of the rounds.
A ratio is the median of the rounds' ratios, for what was measured in one round was measured within
seconds; figures of two runs differ by up to a quarter on the same machine, and are never compared.
A contestant that cannot run is named with the reason, and a goal
that needs it is "not measured"; it is never left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeVar

T = TypeVar("T")

Figures = Mapping[str, float]
"""What one round of one contestant brought: figures by their key."""


class Unmeasured(Exception):
    """A contestant cannot be measured on this machine; the message says why."""


@dataclass(frozen=True)
class Options:
    """How long to measure.

    Args:
        quick: only prove that the benchmarks run: few rounds, short ones, fewer connections.
        rounds: the number of rounds, instead of each benchmark's own.
    """

    quick: bool = False
    rounds: int | None = None

    def pick(self, full: T, quick: T) -> T:
        """The value for this kind of run."""
        return quick if self.quick else full

    def rounds_of(self, full: int) -> int:
        """How many rounds to make where a full run makes `full`."""
        return self.rounds or self.pick(full, 1)


@dataclass(frozen=True)
class Contestant:
    """Something that does the work.

    Args:
        name: as it is printed.
        measure: does one round and returns its figures; raises `Unmeasured` if it cannot.
    """

    name: str
    measure: Callable[[], Figures]


@dataclass(frozen=True)
class Column:
    """A figure that the table shows: its key, its heading with the unit, and whether with range."""

    key: str
    title: str
    with_range: bool = False


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises:
        ValueError: there are no values.
        """
        if not values:
            raise ValueError("a spread of no values")
        return cls(median(values), min(values), max(values))


Samples = Mapping[str, Sequence[Figures]]
"""By contestant, the figures of its rounds; one that could not be measured is not in it."""


def median_of(samples: Samples, contestant: str, key: str) -> float:
    """The median of a figure over the rounds."""
    return median(figures[key] for figures in samples[contestant])


def ratio_of(samples: Samples, ours: str, theirs: str, key: str) -> float:
    """The median of the ratios of the rounds."""
    rounds = zip(samples[ours], samples[theirs], strict=True)
    return median(mine[key] / other[key] for mine, other in rounds)


@dataclass(frozen=True)
class Goal:
    """A bound that a figure, or a ratio of two, has to keep.

    Args:
        text: what is bounded, as it is printed.
        value: computes it; a `KeyError` means that something it needs was not measured.
        bound: the limit.
        at_least: whether the limit is the lower one.
    """

    text: str
    value: Callable[[Samples], float]
    bound: float
    at_least: bool = False

    def verdict(self, samples: Samples) -> Verdict:
        """Holds the figures against the bound."""
        try:
            value = self.value(samples)
        except KeyError:
            return Verdict(self, None)
        return Verdict(self, value)


@dataclass(frozen=True)
class Verdict:
    """What became of a goal; `value` is None when it was not measured."""

    goal: Goal
    value: float | None

    @property
    def met(self) -> bool:
        """Whether it was measured and keeps the bound."""
        if self.value is None:
            return False
        if self.goal.at_least:
            return self.value >= self.goal.bound
        return self.value <= self.goal.bound

    def __str__(self) -> str:
        sign = ">=" if self.goal.at_least else "<="
        if self.value is None:
            return f"{self.goal.text}: {sign} {self.goal.bound:g}: not measured"
        outcome = "met" if self.met else "NOT MET"
        return f"{self.goal.text}: {self.value:.3g} ({sign} {self.goal.bound:g}): {outcome}"


def ratio_goal(
    ours: str,
    theirs: str,
    key: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Goal:
    """The goal that the ratio of two contestants keeps one bound.

    Example::

        ratio_goal("ginkgo", "gevent", "rate", at_least=0.97)
    """
    bound, lower = _one_bound(at_most, at_least)
    return Goal(
        f"{ours} / {theirs}", lambda samples: ratio_of(samples, ours, theirs, key), bound, lower
    )


def figure_goal(contestant: str, key: str, text: str, *, at_most: float) -> Goal:
    """The goal that one contestant's median is at most `at_most`."""
    return Goal(
        f"{contestant}, {text}", lambda samples: median_of(samples, contestant, key), at_most
    )


def _one_bound(at_most: float | None, at_least: float | None) -> tuple[float, bool]:
    if at_least is not None and at_most is None:
        return at_least, True
    if at_most is not None and at_least is None:
        return at_most, False
    raise ValueError("a goal has one bound: at_most or at_least")


@dataclass(frozen=True)
class Benchmark:
    """One table: contestants, what is shown of them, and the goals.

    Args:
        title: what is measured, in one line.
        contestants: in the order of the first round.
        columns: the figures shown; the first is the one that ratios are printed of.
        reference: the contestant that the ratios are taken to, or None.
        goals: what ours has to reach.
    """

    title: str
    contestants: Sequence[Contestant]
    columns: Sequence[Column]
    reference: str | None = None
    goals: Sequence[Goal] = ()


@dataclass
class Report:
    """What a benchmark brought."""

    benchmark: Benchmark
    rounds: int
    samples: dict[str, list[Figures]]
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a contestant was not measured."""

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each goal."""
        return [goal.verdict(self.samples) for goal in self.benchmark.goals]

    def spread(self, contestant: str, key: str) -> Spread | None:
        """A figure over the rounds; None where it was not measured."""
        if contestant not in self.samples:
            return None
        return Spread.of([figures[key] for figures in self.samples[contestant]])

    def __str__(self) -> str:
        lines = [f"## {self.benchmark.title}", "", *_table(self), ""]
        lines += [f"{name}: not measured: {why}" for name, why in self.reasons.items()]
        lines += [str(verdict) for verdict in self.verdicts]
        return "\n".join(lines) + "\n"


def compare(benchmark: Benchmark, rounds: int) -> Report:
    """Runs the contestants in turns, and gathers their figures.

    A contestant that cannot be measured in one round is left out of the later ones.
    """
    samples: dict[str, list[Figures]] = {c.name: [] for c in benchmark.contestants}
    reasons: dict[str, str] = {}
    for contestant in turns(benchmark.contestants, rounds):
        if contestant.name in reasons:
            continue
        try:
            samples[contestant.name].append(contestant.measure())
        except Unmeasured as why:
            reasons[contestant.name] = str(why)
    for name in reasons:
        del samples[name]
    return Report(benchmark, rounds, samples, reasons)


def turns(contestants: Sequence[Contestant], rounds: int) -> Iterable[Contestant]:
    """The order of the rounds: A B C, C B A, A B C, ..."""
    for number in range(rounds):
        yield from contestants if number % 2 == 0 else reversed(contestants)


NOTHING: Final = "-"


def number(value: float) -> str:
    """Three significant digits, or whole numbers with separators from a thousand on."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(report: Report) -> list[str]:
    rows = [_headings(report.benchmark)]
    rows += [_row(report, contestant.name) for contestant in report.benchmark.contestants]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return [lines[0], f"|{rule}|", *lines[1:]]


def _headings(benchmark: Benchmark) -> list[str]:
    headings = ["contestant"]
    for index, column in enumerate(benchmark.columns):
        headings.append(column.title)
        if index == 0 or column.with_range:
            headings.append("min..max")
        if index == 0 and benchmark.reference is not None:
            headings.append(f"x {benchmark.reference}")
    return headings


def _row(report: Report, name: str) -> list[str]:
    benchmark = report.benchmark
    cells = [name]
    for index, column in enumerate(benchmark.columns):
        spread = report.spread(name, column.key)
        cells.append(number(spread.median) if spread else NOTHING)
        if index == 0 or column.with_range:
            cells.append(f"{number(spread.least)}..{number(spread.most)}" if spread else NOTHING)
        if index == 0 and benchmark.reference is not None:
            cells.append(_ratio(report, name, column.key))
    return cells


def _ratio(report: Report, name: str, key: str) -> str:
    reference = report.benchmark.reference
    if reference is None or name not in report.samples or reference not in report.samples:
        return NOTHING
    return f"{ratio_of(report.samples, name, reference, key):.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"
