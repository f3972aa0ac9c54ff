"""``ginkgo doctor``: what to paste into a bug report, and what is wrong here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ..logs.escape import escape
from .output import Output


def parser() -> argparse.ArgumentParser:
    """Return the parser of its command line."""
    made = argparse.ArgumentParser(
        prog="ginkgo doctor",
        description="Tell what a bug report needs: versions, the platform, limits, instances, and "
        "what is wrong here. No application is imported. The exit status is 1 when something is "
        "wrong.",
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def run(options: argparse.Namespace) -> int:
    """Print it. Returns 1 when there is a problem, and 0 otherwise."""
    from ..process.doctor import examine

    found = examine()
    Output(as_json=options.json).result(found, *describe(found))
    return 1 if found["problems"] else 0


def describe(found: dict[str, Any]) -> Iterator[str]:
    """Yield what was found in lines for people."""
    for title, content in found.items():
        if title not in ("schema", "problems"):
            yield f"{title}:"
            yield from section(content)
    problems = found["problems"]
    yield "problems:" if problems else "problems: none"
    for problem in problems:
        yield f"  {escape(problem['what'])}"
        yield f"    {escape(problem['do'])}"


def section(content: dict[str, Any]) -> Iterator[str]:
    """Yield a section: a name and a value in each line, those without a value too."""
    width = max((len(name) for name in content), default=0)
    for name, value in content.items():
        if isinstance(value, list):
            yield f"  {label(name):<{width}}  {len(value) or 'none'}"
            yield from (f"    {shown(each)}" for each in value)
        elif name == "values":
            yield from (f"  {each}={escape(text)}" for each, text in value.items())
        else:
            yield f"  {label(name):<{width}}  {shown(value)}"


def label(name: str) -> str:
    """Return the name of a value, in words."""
    return name.replace("_", " ")


def shown(value: Any) -> str:
    """Return a value in words."""
    if isinstance(value, dict):
        return ", ".join(f"{label(name)} {shown(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else escape(str(value))
