"""The harness tells the truth about figures, and the benchmarks run."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from benchmarks.__main__ import NAMES, main
from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Options,
    Spread,
    Unmeasured,
    compare,
    figure_goal,
    number,
    ratio_goal,
    turns,
)

from benchmarks import compiler, load

ROOT = Path(__file__).resolve().parents[2]


def contestant(name: str, *values: float) -> Contestant:
    """One that brings these values, one a round."""
    rounds = iter(values)
    return Contestant(name, lambda: {"rate": next(rounds)})


def unmeasurable(name: str) -> Contestant:
    def measure() -> Mapping[str, float]:
        raise Unmeasured("it is not installed")

    return Contestant(name, measure)


def benchmark(*contestants: Contestant, at_least: float = 0.97) -> Benchmark:
    return Benchmark(
        "Messages",
        contestants,
        [Column("rate", "messages/s")],
        reference="theirs",
        goals=[ratio_goal("ours", "theirs", "rate", at_least=at_least)],
    )


def test_contestants_take_turns_there_and_back() -> None:
    a, b, c = (contestant(name) for name in "abc")
    assert [one.name for one in turns([a, b, c], 3)] == list("abccbaabc")


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    report = compare(
        benchmark(contestant("theirs", 100, 200, 900), contestant("ours", 95, 180, 9000)), 3
    )
    assert report.spread("theirs", "rate") == Spread(200, 100, 900)
    assert report.verdicts[0].value == pytest.approx(0.95)
    assert not report.verdicts[0].met


def test_a_bound_that_is_just_reached_is_met() -> None:
    report = compare(benchmark(contestant("theirs", 100), contestant("ours", 97)), 1)
    assert report.verdicts[0].met


def test_the_table_shows_medians_ranges_and_ratios() -> None:
    report = compare(
        benchmark(contestant("theirs", 1000, 2000, 3000), contestant("ours", 2500, 2500, 2500)), 3
    )
    assert str(report).splitlines() == [
        "## Messages",
        "",
        "| contestant | messages/s |     min..max | x theirs |",
        "|------------|-----------:|-------------:|---------:|",
        "| theirs     |      2,000 | 1,000..3,000 |     1.00 |",
        "| ours       |      2,500 | 2,500..2,500 |     1.25 |",
        "",
        "ours / theirs: 1.25 (>= 0.97): met",
    ]


def test_what_cannot_be_measured_is_named_with_the_reason() -> None:
    report = compare(benchmark(unmeasurable("theirs"), contestant("ours", 1, 2)), 2)
    assert report.verdicts[0].value is None
    assert "theirs: not measured: it is not installed" in str(report)
    assert "ours / theirs: >= 0.97: not measured" in str(report)


def test_a_figure_above_its_limit_is_not_met() -> None:
    goal = figure_goal("ours", "rate", "ms", at_most=200)
    report = compare(benchmark(contestant("ours", 201)), 1)
    assert str(goal.verdict(report.samples)) == "ours, ms: 201 (<= 200): NOT MET"


def test_a_goal_has_exactly_one_bound() -> None:
    with pytest.raises(ValueError, match="one bound"):
        ratio_goal("ours", "theirs", "rate")


def test_a_spread_of_no_values_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_numbers_are_as_long_as_they_are_telling() -> None:
    assert [number(n) for n in (0.1234, 12.345, 999.4, 75852.3)] == [
        "0.123",
        "12.3",
        "999",
        "75,852",
    ]


def test_a_quick_run_makes_one_round_unless_told_otherwise() -> None:
    assert Options(quick=True).rounds_of(7) == 1
    assert Options(quick=True, rounds=2).rounds_of(7) == 2
    assert Options().rounds_of(7) == 7


def test_an_unknown_benchmark_is_refused_with_the_names_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["ehco"]) == 2
    said = capsys.readouterr().out
    assert said.startswith("no such benchmark: ehco; there are ")
    assert all(name in said for name in NAMES)


def test_without_a_compiler_the_load_generator_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiler, "BUILT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(Unmeasured, match="no C compiler"):
        compiler.program(load.SOURCE)


@pytest.mark.parametrize("name", ["echo", "asgi", "setting", "control"])
def test_a_quick_benchmark_measures_everything_it_promises(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured" not in done.stdout
