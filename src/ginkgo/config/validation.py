"""Everything that is wrong with a configuration, found at once, and what only looks wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .layers import CREDENTIALS, Found
from .names import SERVICE, environment_name, nearest
from .problems import Problem

if TYPE_CHECKING:
    from .registry import Registry
    from .snapshot import Snapshot


def problems(snapshot: Snapshot, registry: Registry) -> list[Problem]:
    """Return all that makes `snapshot` unusable, now or when what is set for now has ended."""
    runs = snapshot.layers.runs
    below = snapshot.without_temporary()
    found: list[Problem] = []
    for path in registry.paths(runs):
        found += registry.conflicts(path, runs)
        for setting in registry.at(path, runs):
            looked = [each.look(setting) for each in (snapshot, below)]
            found += (each for each in looked if isinstance(each, Problem))
    found += (problem for problem, sure in _strangers_in_options(snapshot, registry) if sure)
    return list(dict.fromkeys(found))  # two classes that declare one setting: said once


def doubts(snapshot: Snapshot, registry: Registry) -> list[Problem]:
    """Return what is probably a mistake: names that are nearly a setting's."""
    found = [*_strangers_in_files(snapshot, registry), *_strangers_outside(snapshot, registry)]
    found += (problem for problem, sure in _strangers_in_options(snapshot, registry) if not sure)
    return list(dict.fromkeys(found))


def warnings(snapshot: Snapshot, registry: Registry) -> tuple[str, ...]:
    """Return what a person should know about a configuration that is used all the same."""
    about_files = [told for source in snapshot.layers.sources for told in source.warnings]
    return (*about_files, *_open_secrets(snapshot), *map(str, doubts(snapshot, registry)))


def _open_secrets(snapshot: Snapshot) -> Iterator[str]:
    for path, found in snapshot.layers.options.items():
        if snapshot.secret(path):
            yield (
                f"{found.origin}: {path} is secret, and a command line can be read by every user; "
                f"use the environment variable {environment_name(path)}_FILE"
            )


def _strangers_in_files(snapshot: Snapshot, registry: Registry) -> Iterator[Problem]:
    known = {*registry.paths(snapshot.layers.runs), SERVICE}
    for path, found in snapshot.layers.undeclared(known):
        meant = None if _imported(found) else nearest(path, sorted(known))
        if meant:
            yield Problem(
                path,
                f"{path} is no setting; did you mean {meant}? "
                "(If it is the file's own, start it with an underscore.)",
                found.origin,
            )


def _imported(found: Found) -> bool:
    """Whether a value is a function or class that the file has imported."""
    home = getattr(found.value, "__module__", None) if callable(found.value) else None
    return home is not None and home != os.path.basename(found.origin.rpartition(":")[0])


def _strangers_outside(snapshot: Snapshot, registry: Registry) -> Iterator[Problem]:
    known = {CREDENTIALS, environment_name(SERVICE)}
    for path in registry.paths(snapshot.layers.runs):
        name = environment_name(path)
        known |= {name, f"{name}_FILE"} if registry.secret(path) else {name}
    for name in snapshot.layers.environ:
        meant = None if name in known else nearest(name, sorted(known))
        if meant:
            told = f"there is no such setting; did you mean {meant}?"
            yield Problem("", told, f"environment {name}")


def _strangers_in_options(snapshot: Snapshot, registry: Registry) -> Iterator[tuple[Problem, bool]]:
    """Yield a problem for each name after --set that nobody declares, and whether it is surely one.

    Nobody writes a helper variable on a command line: a near miss there is a mistake.
    """
    known = {*registry.paths(snapshot.layers.runs), SERVICE}
    for path, found in snapshot.layers.options.items():
        if path not in known:
            meant = nearest(path, sorted(known))
            told = f"{path} is no setting" + (f"; did you mean {meant}?" if meant else "")
            yield Problem(path, told, found.origin), meant is not None
