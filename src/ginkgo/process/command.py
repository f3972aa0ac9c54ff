"""An external program as a service: started, watched, and stopped with all that it has started.

::

    class App(Service):
        def __init__(self):
            self.add_service(Command(["redis-server", "--port", "7010"], ready=7010))

It behaves the same on every backend, because it is built on what all of them have: descriptors that
are watched in the loop (see :mod:`.command_program`), calls that are due later, and waits.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..async_.base import run_to_end
from ..core.errors import GinkgoError, SystemFailure, Unavailable
from ..core.failure import Failure, StartTimeout, StopTimeout
from ..core.lifecycle import start_limit, stop_limit
from ..core.service import Service
from ..core.state import READY, STARTING
from ..core.supervision import begin_failure, end
from ..servers.addresses import Address
from .command_guardian import guardian
from .command_launch import parse_argv, parse_signal, prepare, with_path
from .command_program import Program, signal_name
from .command_ready import Knock, Ready, describe, parse_ready, pauses

if TYPE_CHECKING:
    from ..core.backend import Backend
    from ..core.clock import Timer

logger = logging.getLogger("ginkgo.command")

RESERVE = 5.0  # seconds beyond stop_timeout, for SIGKILL: it takes a few milliseconds
SOONER = 0.1  # seconds, at most a tenth of start_timeout, by which we know better than the core


class CommandFailed(GinkgoError):
    """An external program has ended, and nobody had told it to.

    Attributes:
        status: for the shell, as when the application itself fails: 70.
        returncode: the program's own status, negative where a signal ended it; None where it is
            not known.
    """

    status = os.EX_SOFTWARE

    def __init__(self, message: str, *, returncode: int | None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode


class Command(Service):
    """An external program.

    It is started in a session and process group of its own, with /dev/null to read from. Each line
    that it prints is a line in the log, by the logger ``ginkgo.command``. When it ends and was not
    told to, the service fails; when it ends with status 0, the service stops. When the service
    stops, so does everything that the program has started; also when this process is killed.

    Each argument can be an attribute of a subclass instead; `ready` is called `ready_when` there.

    Args:
        argv: the program and its arguments, or a function that returns them, called at each start.
            No shell is involved.
        env: variables to add to the environment; None as a value takes one away. The program has
            ours without ``GINKGO_...`` and what systemd means for us alone; under another user, no
            more than PATH, TERM, TZ and the language.
        cwd: an absolute path, the folder that it starts in; None for our own.
        user: whom to run it as, a name or uid. Takes root.
        group: a group other than the user's own.
        ready: when it is ready: a regular expression for a line of its output, an address or port
            where it accepts connections, or a function that is asked until it returns something
            true; None when it has been started. See :mod:`ginkgo.process.command_ready`.
        stop_signal: what asks it to end. What has not ended after `stop_timeout` seconds is killed.
        reload_signal: what tells it, and it alone, to reload; None when nothing does.
        stdout_level, stderr_level: those of its lines in the log; None discards them.
        restart: what its supervisor does when it ends.
        name: the service's name; by default that of the program, or of the subclass.

    Attributes:
        pid: the program's number while it runs, else None.
        returncode: how it last ended: its status, or the negative number of the signal.
        last_lines: the last ten lines that it printed.

    Raises:
        ConfigError: an argument makes no sense.

    Example:
        >>> class Redis(Command):
        ...     argv = ["redis-server", "--port", "7010", "--save", ""]
        ...     ready_when = "Ready to accept connections"
        ...     reload_signal = None
    """

    argv: Any = ()
    env: Mapping[str, str | None] | None = None
    cwd: str | os.PathLike[str] | None = None
    user: str | int | None = None
    group: str | int | None = None
    ready_when: Any = None
    stop_signal: Any = "SIGTERM"
    reload_signal: Any = None
    stdout_level: int | None = logging.INFO
    stderr_level: int | None = logging.WARNING

    returncode: int | None = None

    _stop_reserve = RESERVE
    _program: Program | None = None
    _mark: str | None = None
    _said: tuple[str, ...] = ()
    _awaited: Ready = None
    _knocking: Knock | None = None
    _timer: Timer | None = None
    _alarm: Timer | None = None

    def __init__(
        self,
        argv: Any = None,
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        ready: Any = None,
        stop_signal: Any = None,
        reload_signal: Any = None,
        stdout_level: int | None = -1,
        stderr_level: int | None = -1,
        restart: str | None = None,
        name: str | None = None,
    ) -> None:
        given = {
            "argv": argv,
            "env": env,
            "cwd": cwd,
            "user": user,
            "group": group,
            "ready_when": ready,
            "stop_signal": stop_signal,
            "reload_signal": reload_signal,
        }
        for attribute, value in given.items():
            if value is not None:
                setattr(self, attribute, value)
        if stdout_level != -1:
            self.stdout_level = stdout_level
        if stderr_level != -1:
            self.stderr_level = stderr_level
        if restart is not None:
            self.restart = restart
        if name is not None:
            self.name = name
        elif type(self) is Command and not callable(self.argv):
            self.name = os.path.basename(parse_argv(self.argv)[0]) or "command"
        self._check()

    def _check(self) -> Ready:
        if not callable(self.argv):
            parse_argv(self.argv)
        parse_signal(self.stop_signal, "stop_signal")
        if self.reload_signal is not None:
            parse_signal(self.reload_signal, "reload_signal")
        return parse_ready(self.ready_when)

    # -- hooks -----------------------------------------------------------------------------------

    def do_start(self) -> Any:
        """Start the program."""
        backend = self.backend_in_use
        began = backend.now()
        if not hasattr(os, "pidfd_open"):
            raise SystemFailure(f"{self.path}: a command needs Linux 5.3 or newer")
        try:
            awaited = self._check()
            argv = self.argv() if callable(self.argv) else self.argv
            launch = prepare(argv, self.env, self.cwd, self.user, self.group)
        except GinkgoError as error:
            raise with_path(self.path, error) from None
        if isinstance(awaited, Address):
            self._knocking = self._knock(awaited)
        self._awaited, self.returncode = awaited, None
        self._mark = guardian.hold()
        heard = [self._hearing(level) for level in (self.stdout_level, self.stderr_level)]
        program = Program(launch, self._mark, self.path, heard)
        self._program = program
        logger.info("%s: %s runs, pid %d", self.path, launch.executable, program.pid)
        _in_loop(backend, lambda: program.begin(backend, self._ended))
        if awaited is None:
            return None
        _in_loop(backend, lambda: self._set_alarm(backend, awaited, began))
        if isinstance(awaited, Address):
            _in_loop(backend, lambda: self._look(backend, pauses()))
        elif not isinstance(awaited, re.Pattern):
            self._spawn_asking(backend, awaited)
        return self.NOT_READY

    def do_stop(self) -> Any:
        """End the program, with all that it has started."""
        backend = self.backend_in_use
        return backend.run(self._end(backend))

    def do_reload(self) -> Any:
        """Send the program its `reload_signal`, if it has one."""
        if self.reload_signal is None or self._program is None:
            return
        number = parse_signal(self.reload_signal, "reload_signal")
        if self._program.send(number):
            logger.info("%s: told to reload by %s", self.path, signal_name(number))

    # -- what can be seen ------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The program's number while it runs."""
        program = self._program
        return program.pid if program is not None and program.ended is None else None

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines that it printed, ten at most."""
        return self._said if self._program is None else tuple(self._program.tail)

    # -- readiness -------------------------------------------------------------------------------

    def _hearing(self, level: int | None) -> Callable[[str], object] | None:
        """What is done with each line that the program prints."""
        path = self.path

        def heard(line: str) -> None:
            logger.log(level or 0, "%s: %s", path, line)
            self._see(line)

        return None if level is None else heard

    def _see(self, line: str) -> None:
        if isinstance(self._awaited, re.Pattern) and self._awaited.search(line):
            self._is_ready()

    def _is_ready(self) -> None:
        self._awaited = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.set_ready()

    def _set_alarm(self, backend: Backend, awaited: Ready, began: float) -> None:
        """Say what was waited for, just before the core would say that time is over."""
        limit = start_limit(self)

        def too_late() -> None:
            self._alarm = None
            if self._awaited is None or self._program is None:
                return
            error = StartTimeout(
                f"{self.path}: the program, pid {self._program.pid}, runs, but was not ready "
                f"within {limit:g} s: it waits for {describe(awaited)}{_last_lines(self._program)}",
                hint="Raise start_timeout of that service, or look whether `ready` is what the "
                "program does.",
            )
            begin_failure(self, Failure(self.path, "start", error))

        if limit is not None:
            left = began + limit - min(SOONER, limit / 10) - backend.now()
            self._alarm = backend.later(max(0.0, left), too_late)

    def _knock(self, address: Address) -> Knock:
        """Look whether nobody is there yet: it would be taken for the program."""
        knock = Knock(address)
        if knock.answered():
            raise Unavailable(
                f"{self.path}: at {address}, where the program is to answer, somebody does already",
                hint="Stop what listens there, or choose another port. ss -ltnp shows it.",
            )
        return knock

    def _look(self, backend: Backend, waits: Iterator[float]) -> None:
        """See whether somebody answers, now and later. Called in the loop."""
        self._timer = None
        if self._knocking is None or self._program is None or self._program.ended is not None:
            return
        if self._knocking.answered():
            self._is_ready()
        else:
            self._timer = backend.later(next(waits), lambda: self._look(backend, waits))

    def _spawn_asking(self, backend: Backend, function: Callable[[], Any]) -> None:
        """Ask a function until it says yes, in a task: on asyncio a coroutine, else blocking."""

        async def ask() -> None:
            await self._ask(backend, function)

        if backend.name == "asyncio":
            self.spawn(ask)
        else:
            self.spawn(lambda: run_to_end(ask()))

    async def _ask(self, backend: Backend, function: Callable[[], Any]) -> None:
        for pause in pauses():
            if inspect.iscoroutinefunction(function):
                yes = function()
                yes = await yes if backend.name == "asyncio" else self.async_.run(yes)
            elif backend.name == "asyncio":
                yes = await self.async_.to_thread(function)
            else:
                yes = function()
            if yes:
                backend.post(self._is_ready)
                return
            slept = self.async_.sleep(pause)
            if inspect.isawaitable(slept):
                await slept

    # -- the end ---------------------------------------------------------------------------------

    def _ended(self) -> None:
        """The program has ended by itself. Called in the loop."""
        if self._state == STARTING and self._awaited is None:
            self._when_started(self._conclude)
        else:
            self._conclude()

    def _when_started(self, function: Callable[[], object]) -> None:
        """Call `function` when the start is over, which has nothing to wait for any more."""

        def look(_: Service) -> None:
            if self._state != STARTING:
                watchers.remove(look)
                if self._state == READY:
                    function()

        watchers = self.__dict__.setdefault("_watchers", [])
        watchers.append(look)

    def _conclude(self) -> None:
        program = self._program
        if program is None or program.ended is None or self._state not in (READY, STARTING):
            return
        self.returncode = program.ended.status
        before = "" if self._awaited is None else " before it was ready"
        if self._awaited is None and self.returncode == 0:
            logger.info("%s: the program %s", self.path, program.ended)
            end(self)
            return
        error = CommandFailed(
            f"{self.path}: the program, pid {program.pid}, {program.ended}{before}"
            f"{_last_lines(program)}",
            returncode=self.returncode,
        )
        failure = Failure(self.path, "command", error)
        if not begin_failure(self, failure):  # else whoever started the service is told
            logger.error("%s", error)

    async def _end(self, backend: Backend) -> None:
        for timer in (self._timer, self._alarm):
            if timer is not None:
                timer.cancel()
        self._timer = self._alarm = None
        if self._knocking is not None:
            self._knocking.close()
            self._knocking = None
        try:
            if self._program is not None:
                await self._end_program(backend, self._program)
        finally:
            if self._mark is not None:
                self._mark = None
                await guardian.let_go(backend)

    async def _end_program(self, backend: Backend, program: Program) -> None:
        number = parse_signal(self.stop_signal, "stop_signal")
        program.look()
        by_itself = program.ended is not None
        began = backend.now()
        try:
            left = await program.end(backend, number, stop_limit(self))
        finally:
            self._program = self._awaited = None
            self._said = tuple(program.tail)
            if program.ended is not None:
                self.returncode = program.ended.status
        took = backend.now() - began
        if program.family.killed:
            logger.warning(
                "%s: %s did not end within %g s of %s, and was killed: pid %s",
                self.path,
                "the program" if program.pid in program.family.killed else "what it has started",
                stop_limit(self) or 0,
                signal_name(number),
                ", ".join(map(str, program.family.killed)),
            )
        elif not by_itself:
            logger.info("%s: the program %s, after %.1f s", self.path, program.ended, took)
        if left:
            raise StopTimeout(
                f"{self.path}: SIGKILL does not end pid {', '.join(map(str, left))}",
                hint="It hangs in the kernel, or belongs to another user: ps -o pid,user,stat,wchan"
                " shows which.",
            )


def _last_lines(program: Program) -> str:
    lines = "".join(f"\n  {line}" for line in program.tail)
    return f"; its last lines:{lines}" if lines else "; it printed nothing"


def _in_loop(backend: Backend, function: Callable[[], object]) -> None:
    """Call a function where those of the loop are called, and not at the same time as one of them.

    A hook has a thread of its own on the threading backend, and is in the loop on the others.
    """
    raised: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again in the hook
            raised.append(error)

    backend.post(call)
    if raised:
        raise raised.pop()
