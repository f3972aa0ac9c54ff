"""Settings: a configuration, made of layers, replaced as a whole.

    files, environment, --set        prepare()          apply()
    and the declared settings   ---------------> Snapshot -------> what every reader sees
                                 all is checked;          one assignment
                                 or nothing happens

There is one for the process, `ginkgo.settings`. A test makes its own, and puts it in force for the
time of a `with` block.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from ..core.errors import TemporaryFailure, UsageError
from . import cache, context, validation
from .layers import Found, Layers, Source, relevant
from .names import normalise
from .native import original
from .problems import ConfigProblems, Problem
from .registry import Registry
from .setting import BoundSetting, Setting
from .snapshot import UNSET, Entry, Held, Snapshot

if TYPE_CHECKING:
    from typing import Self

    from .groups import Group
    from .listing import Declaration
    from .report import ReloadReport

NOTHING_CHANGED = "Nothing was changed: the configuration that was in effect stays so."

# Longer than any file needs that only sets values, shorter than a start may take.
DEADLINE = 10.0  # seconds


class Settings:
    """A collection of settings, and what they are worth.

    Args:
        values: what to load first, as by `load()`.
        environ: the environment variables that may set settings; none by default, so that a test's
            configuration does not depend on them. The process's own looks at `os.environ`, each
            time that something is loaded.
        deadline: seconds that a config file may take to run; 0 for ever.

    Attributes:
        snapshot: the configuration that is in effect, immutable.
        registry: the declared settings.
    """

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.deadline = deadline
        self.registry: Registry = Registry(context.active().registry if context.stack else None)
        self._environ = {} if environ is None else environ
        self._numbers = count(1)
        self._preparing = original("_thread", "allocate_lock")()
        self._preparer = 0  # the thread that does
        self._nested: list[Source] = []  # what files that are run again load themselves
        self.snapshot = Snapshot(0, Layers(environ=relevant(self._environ)), self.registry)
        if values:
            self.load(values)

    def __repr__(self) -> str:
        files = [source.name for source in self.snapshot.layers.sources if source.name]
        given = f" from {', '.join(files)}" if files else ""
        return f"<Settings {self.snapshot.number}{given}>"

    # Reading

    def get(self, path: str, default: Any = UNSET) -> Any:
        """Return the value of `path`.

        Args:
            path: a setting's path, or any name in a config file.
            default: what to return when nothing sets it; left out: the setting's own default, and
                None when nobody has declared it.

        Raises:
            ConfigError: something sets it to what it must not be.
        """
        return self.snapshot.get(path, default)

    def origin(self, path: str) -> str:
        """Return where the value of `path` comes from.

        One of `file:line`, `environment GINKGO_X`, `credential FILE`, `--set`, `set()`, `load()`
        and `default`.
        """
        return self.snapshot.origin(path)

    def group(self, path: str = "") -> Group | None:
        """Return the settings below `path`, all for ""; None if there is a value of that name."""
        from .groups import group

        return group(lambda: self.snapshot, path)

    def declared(self) -> list[Declaration]:
        """Return every declared setting with its value and origin, sorted by path."""
        from .listing import declarations

        return list(declarations(self.snapshot))

    def print_help(self, only_default: bool = False) -> None:
        """Print the declared settings, with their help and default.

        Args:
            only_default: leave out what they are worth now.
        """
        from .listing import format_settings

        sys.stdout.write(format_settings(self, values=not only_default) + "\n")

    # Declaring

    def setting(self, *args: Any, **named: Any) -> Any:
        """Return a Setting that takes its value from this configuration, whichever is in force."""
        return BoundSetting(self, *args, **named)

    # Loading: each of these changes all it has to, or nothing

    def set(self, path: str, value: Any, force: bool = False, *, parse: bool = False) -> None:
        """Set the value of a setting.

        Without force it counts more than what files say, until a file that sets the same is loaded
        or reloaded, and less than the environment and `--set`: those are the operator's.

        Args:
            force: nothing but another forced value counts more, and no reload takes it away.
            parse: `value` is text, to be read as the setting's type says.

        Raises:
            ConfigError: the setting must not be that.
        """
        path = normalise(path)
        found = Found(value, "set()", text=parse)
        runs = self.snapshot.layers.runs
        # A dict may be a group: then it sets what is declared below it.
        concerned = {p for p in self.registry.paths(runs) if f"{p}.".startswith(f"{path}.")}
        trial = Snapshot(0, Layers(forced={path: found}), self.registry)
        looked = [trial.look(s) for p in sorted(concerned) for s in self.registry.at(p, runs)]
        self._refuse([each for each in looked if isinstance(each, Problem)])

        def with_it(now: Snapshot) -> Snapshot:
            layers = now.layers
            if force:
                layers = layers._replace(forced={**layers.forced, path: found})
            else:
                layers = layers._replace(plain={**layers.plain, path: found})
            held = {name: each for name, each in now.held.items() if name not in concerned}
            return now.successor(next(self._numbers), layers, (path,), held)

        self._change(with_it)

    def load(self, values: Mapping[str, Any], *, check: bool = True) -> dict[str, Any]:
        """Load a dictionary: dotted names are paths, plain classes are groups.

        Args:
            check: refuse values that a declared setting must not have.

        Returns:
            All that is set now, by path.

        Raises:
            ConfigError: a setting must not be that.
        """
        from .files import flatten

        given, classes = flatten(dict(values), {}, "load()")
        return self._add(Source("load", "", given, classes), check=check)

    def load_file(self, path: str, *, check: bool = True) -> dict[str, Any]:
        """Load a Python file. Of two files the one that was loaded later counts more.

        Args:
            path: the file; `~` is the user's home.
            check: refuse values that a declared setting must not have. Where most settings are
                declared only later, when an application is imported, leave it to `check()`, which
                then tells everything at once.

        Returns:
            All that is set now, by path.

        Raises:
            ConfigError: the file cannot be used, or a setting must not be what it says.
        """
        from . import files

        return self._add(files.load(path, self.deadline, self._secrets()), check=check)

    def load_module(self, module_path: str, *, check: bool = True) -> dict[str, Any]:
        """Load a module by its dotted name, as `load_file` does a file."""
        from . import files

        source = files.load_module(module_path, self.deadline, self._secrets())
        return self._add(source, check=check)

    def load_options(self, options: Iterable[str], origin: str = "--set") -> None:
        """Take what the command line says: `NAME=VALUE`, each.

        The values are text until somebody declares the settings; `check()` tells what is wrong.

        Args:
            origin: the option that has given them, for messages.

        Raises:
            UsageError: there is no name, or no `=`.
        """
        given = {}
        for option in options:
            name, equals, value = option.partition("=")
            if not equals or not name.strip():
                raise UsageError(f"{origin} needs NAME=VALUE, not {option!r}")
            given[normalise(name.strip())] = Found(value, origin, text=True)

        def with_them(now: Snapshot) -> Snapshot:
            layers = now.layers._replace(options={**now.layers.options, **given})
            return now.successor(next(self._numbers), layers, given, now.held)

        self._change(with_them)

    def check(self, *, strict: bool = False) -> tuple[str, ...]:
        """Look at every declared setting, and return warnings about what is probably a mistake.

        Args:
            strict: such a mistake is an error.

        Raises:
            ConfigError: with all that is wrong, in `problems`.
        """
        self._refuse(self._problems(self.snapshot, strict=strict))
        return self.warnings

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is probably a mistake in the configuration that is in effect."""
        return validation.warnings(self.snapshot, self.registry)

    # Reloading

    def prepare(self, *, strict: bool = False) -> Snapshot:
        """Run all files and modules again, check everything, and return what would come of it.

        Nothing is changed yet: that is `apply()`'s. A setting that needs a restart keeps its value.

        Args:
            strict: a name that is nearly a setting's is an error.

        Raises:
            ConfigError: with all that is wrong, in `problems`.
            TemporaryFailure: another reload is under way.
        """
        if not self._preparing.acquire(blocking=False):
            raise TemporaryFailure("another reload is under way", hint="Try again when it is over.")
        try:
            self._preparer = original("_thread", "get_ident")()
            base = self.snapshot
            sources = self._run_again(base.layers.sources)
        finally:
            self._preparer = 0
            self._preparing.release()
        fresh = [source for source in sources if source.run is not None]
        layers = base.layers._replace(environ=relevant(self._environ)).loaded(sources, fresh)
        new = Snapshot(next(self._numbers), layers, self.registry)
        self._refuse(self._problems(new, strict=strict), hint=NOTHING_CHANGED)
        held = _hold(base, new)
        return new.successor(new.number, layers, held, held, base.layers)

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """Put a prepared snapshot into effect, by one assignment, and return the one before.

        What was set meanwhile is kept.
        """
        return self._change(lambda now: _rebase(snapshot, now))

    def restore(self, snapshot: Snapshot) -> None:
        """Put back what `apply()` returned."""
        self._change(lambda _: snapshot)

    def reload(self, *, strict: bool = False) -> ReloadReport:
        """Load all files again, and put them into effect: all, or nothing.

        Raises:
            ConfigError: with all that is wrong, in `problems`; nothing has changed.
            TemporaryFailure: another reload is under way.
        """
        before = self.apply(self.prepare(strict=strict))
        return self.report(before)

    def reload_file(self) -> dict[str, Any] | None:
        """Reload as `reload()` does; return all that is set then, or None without a file."""
        if not any(source.run for source in self.snapshot.layers.sources):
            return None
        self.reload()
        return self.snapshot.given()

    def report(self, old: Snapshot, new: Snapshot | None = None) -> ReloadReport:
        """Return what has changed from `old` to `new`, or to what is in effect now."""
        from .report import compare

        new = new or self.snapshot
        return compare(old, new, validation.warnings(new, self.registry))

    # Being in force

    def context(
        self, values: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Return a fresh configuration, for a `with` block.

        Example:
            with settings.context({"rate": 5}):
                assert Hello().rate == 5
        """
        return Settings(values, environ=environ)

    def __enter__(self) -> Self:
        self._put_in_force(lambda stack: [*stack, self])
        return self

    def __exit__(self, *_: object) -> None:
        self._put_in_force(self._without)

    def _without(self, stack: list[Settings]) -> list[Settings]:
        for at in range(len(stack) - 1, 0, -1):  # never the process's own
            if stack[at] is self:
                return [*stack[:at], *stack[at + 1 :]]
        return stack

    def _put_in_force(self, made_of: Callable[[list[Settings]], list[Settings]]) -> None:
        def plan() -> cache.Plan:
            stack = made_of(context.stack)

            def commit() -> bool:
                context.stack[:] = stack
                return True

            return lambda setting: setting.settings_under(stack[-1]).snapshot, commit

        cache.change(plan)

    # How it is done

    def _change(self, made_of: Callable[[Snapshot], Snapshot]) -> Snapshot:
        """Replace the snapshot by what is made of it, and return it: one at a time."""
        before = self.snapshot

        def plan() -> cache.Plan:
            nonlocal before
            before = self.snapshot
            new = made_of(before)

            def afterwards(setting: Setting[Any]) -> Snapshot:
                return new if setting.settings is self else setting.settings.snapshot

            def commit() -> bool:
                if self.snapshot is not before:
                    return False
                self.snapshot = new
                return True

            return afterwards, commit

        cache.change(plan)
        return before

    def _add(self, source: Source, *, check: bool) -> dict[str, Any]:
        if source.run is not None and self._preparer == original("_thread", "get_ident")():
            # A config file that is run again loads another: part of the same reload.
            self._nested.append(source)
            return {path: found.value for path, found in source.values.items()}

        def with_it(now: Snapshot) -> Snapshot:
            layers = now.layers._replace(environ=relevant(self._environ))
            layers = layers.loaded(_joined(layers.sources, source), [source])
            new = Snapshot(next(self._numbers), layers, self.registry)
            if check:
                self._refuse(self._problems(new, strict=False))
            return new

        self._change(with_it)
        return self.snapshot.given()

    def _secrets(self) -> frozenset[str]:
        """The names that a config file may give secrets by: `password` for `db.password`."""
        secret = (s.path for s in self.snapshot.declared() if self.snapshot.secret(s.path))
        return frozenset(path.rpartition(".")[2] for path in secret)

    def _problems(self, snapshot: Snapshot, *, strict: bool) -> list[Problem]:
        found = validation.problems(snapshot, self.registry)
        return found + validation.doubts(snapshot, self.registry) if strict else found

    def _refuse(self, problems: list[Problem], *, hint: str | None = None) -> None:
        if problems:
            raise ConfigProblems(problems, hint=hint)

    def _run_again(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """Return the sources with files and modules run anew.

        Raises:
            ConfigError: with what is wrong in any of them.
        """
        from . import files

        problems: list[Problem] = []
        hints = [NOTHING_CHANGED]
        cause: BaseException | None = None
        fresh: tuple[Source, ...] = ()
        for source in sources:
            if source.run is None:
                fresh = _joined(fresh, source)
                continue
            load = files.load if source.kind == "file" else files.load_module
            self._nested = []
            try:
                new = load(source.name, self.deadline, self._secrets())
            except ConfigProblems as error:
                problems += error.problems
                hints[:0] = [error.hint] if error.hint else []
                cause = error.__cause__
                continue
            if new.blank and not source.blank:
                problems.append(Problem("", "it is empty; is it being written?", source.name))
            for each in (*self._nested, new):
                fresh = _joined(fresh, each)
        if problems:
            raise ConfigProblems(problems, hint=" ".join(hints)) from cause
        return fresh


def _joined(sources: tuple[Source, ...], source: Source) -> tuple[Source, ...]:
    """Return the sources with one more at the end; a file's earlier values are replaced."""
    if source.run is not None:
        others = (s for s in sources if (s.kind, s.name) != (source.kind, source.name))
        return (*others, source)
    *before, last = sources or (source,)
    if last.run is not None:
        return (*sources, source)
    # What load() gave twice in a row is one: an application may call it every minute.
    values, classes = {**last.values, **source.values}, {**last.classes, **source.classes}
    return (*before, last._replace(values=values, classes=classes))


def _hold(base: Snapshot, new: Snapshot) -> dict[str, Held]:
    """Return the settings that need a restart to become what `new` says they are."""
    from .report import same

    held = {}
    for setting in new.declared():
        if not new.needs_restart(setting.path):
            continue
        effective, to_come = base.look(setting), new.entry(setting)
        if isinstance(effective, Entry) and not same(effective.value, to_come.value):
            held[setting.path] = Held(effective, to_come)
    return held


def _rebase(new: Snapshot, now: Snapshot) -> Snapshot:
    """Return `new` with what was set since it was prepared."""
    base, layers = new.base, now.layers
    if base is None or base is layers:
        return new
    since = {p: f for p, f in layers.plain.items() if base.plain.get(p) is not f}
    merged = new.layers._replace(
        plain={**new.layers.plain, **since},
        options=layers.options,
        forced=layers.forced,
        temporary=layers.temporary,
    )
    changed = {*since, *layers.options, *layers.forced, *layers.temporary, *base.temporary}
    held = {path: each for path, each in new.held.items() if path not in changed}
    return new.successor(new.number, merged, changed, held)
