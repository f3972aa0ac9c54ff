"""Running a tree: the steps of a start in their order, and those of the end in the reverse one.

::

    load        configuration, the target's module        nothing has happened yet
    lock        the runtime folder is ours                 a second start is refused here
    log         opened as root, where it has to be
    make        the services' constructors
    bind        every server, while that is still allowed
    drop        another user from here on                  and root for nobody, ever again
    tell        record, pidfile, signals, control socket
    start       the tree                                   ready is told to the launcher
      ...       it runs
    stop        the tree; then all of the above backwards, the log last
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from ..core import lifecycle
from ..core.context import context
from ..core.errors import ApplicationFailed, GinkgoError
from ..core.failure import Abandoned
from ..core.service import Service
from ..logs import setup as logs
from ..logs.stdio import unbuffer
from ..logs.terminal import BrokenPipe
from ..logs.tracebacks import user_traceback
from . import privileges
from .choosing import Choice, check
from .guard import Guard
from .launcher import ReadyPipe
from .loading import Loaded, configure, load
from .options import Options
from .pidfile import Pidfile
from .reload import Reloader
from .running import Running
from .runtime import CONTROL, PID, Record, RuntimeFolder, instance_name, runtime_folder
from .signals import Signals, terminal_is_gone
from .start import Companion, launch
from .target import make_service

logger = logging.getLogger(__name__)

AFTERWARDS = 2.0  # seconds that the interpreter has to end in, when everything has stopped


def run(
    options: Options, ready: ReadyPipe | None, companions: Sequence[Companion], choice: Choice
) -> int:
    """Load a target and run it until it ends. Returns the exit status.

    Args:
        options: what the command line says.
        ready: the pipe to the launcher; None in the foreground.
        companions: see :func:`ginkgo.process.start.start`.
        choice: the backend that this process is prepared for.

    Raises:
        GinkgoError: why it could not be started, or what ended it.
    """
    if ready is None:
        return _run(options, None, companions, choice)
    try:
        return _run(options, ready, companions, choice)
    except BaseException as error:
        # Everything is unwound by now: whoever reads this may start it again at once.
        cause = error.__cause__ if isinstance(error, ApplicationFailed) else error
        known = isinstance(error, GinkgoError) and cause is error
        ready.fail(error, "" if known or cause is None else user_traceback(cause))
        raise


def _run(
    options: Options, ready: ReadyPipe | None, companions: Sequence[Companion], choice: Choice
) -> int:
    loaded = load(options)
    if loaded.process.daemon and ready is None:
        return launch(options)
    beside = [companion() for companion in companions]
    with ExitStack() as undo:
        process = _Process(options, ready, loaded, undo, choice)
        process.prepare()
        process.start(beside)
        return process.wait()


class _Process:
    """The steps, and what they hand on to each other."""

    root: Service

    def __init__(
        self,
        options: Options,
        ready: ReadyPipe | None,
        loaded: Loaded,
        undo: ExitStack,
        choice: Choice,
    ) -> None:
        self.choice = choice
        self.options = options
        self.ready = ready
        self.daemon = ready is not None
        self.loaded = loaded
        self.undo = undo
        self.name = instance_name(options.target)
        self.broken = BrokenPipe(self._stdout_is_gone)
        self.beside: list[Any] = []
        self.guard = Guard(self._take_files_away)
        self.had_terminal = not self.daemon and not terminal_is_gone()

    # -- the start -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """All that has to be there before the first service starts."""
        settings = self.loaded.process
        identity = privileges.find_identity(settings.user, settings.group)
        owner = {} if identity is None else {"uid": identity.uid, "gid": identity.gid}
        self.folder = RuntimeFolder.open(runtime_folder(self.name), **owner)
        self.undo.callback(self.folder.close)
        self.folder.acquire(self.name)
        self.undo.callback(logs.shutdown)
        privileges.apply_umask(settings.umask)
        self._configure_logs(None if identity is None else identity.uid)
        for warning in self.loaded.warnings:
            logger.warning("%s", warning)
        self.pidfile = Pidfile(
            settings.pidfile or os.path.join(self.folder.path, PID),
            mode=0o644 if settings.pidfile else 0o600,
            **owner,
        )
        self.pidfile.write()
        self.undo.callback(self.pidfile.remove)
        if not self.daemon:
            print(f"Starting process with {self.options.target}...")
        if not self.choice.chosen:
            context.backend = self.choice.backend
        self.root = make_service(self.loaded.factory, self.loaded.label)
        context.root = self.root
        check(self.root, self.choice)
        if self.choice.because:
            backend = self.choice.backend
            logger.info("%s: %s runs on %s", self.choice.because, self.root.path, backend)
        if identity is not None:
            self._bind()
            logs.give_to(identity.uid, identity.gid)
            privileges.drop(identity)
        privileges.apply_rundir(settings.rundir)

    def _configure_logs(self, owner: int | None) -> None:
        log = self.loaded.log
        if not self.daemon:
            unbuffer(self.broken)
        logs.configure(
            log.logconfig,
            log.logfile,
            log.loglevel,
            daemon=self.daemon,
            owner=owner,
            broken=self.broken,
        )
        if self.ready is not None:
            self.ready.logfile(log.logfile)
            logs.capture_output()

    def _bind(self) -> None:
        """Open what only root may: the listening sockets of every server in the tree."""
        for service in self.root.walk():
            bind = getattr(service, "bind", None)
            if callable(bind):
                bind()
                self.undo.callback(service.unbind)  # type: ignore[attr-defined]

    def start(self, companions: Sequence[Callable[[Running], Any]]) -> None:
        """Start the tree. Returns when it is ready, or was stopped meanwhile."""
        backend = self.root.backend_in_use
        reloader = Reloader(self.root, lambda: configure(self.loaded, self.daemon))
        logfile = logs.status().path
        self.running = Running(
            name=self.name,
            target=self.options.target,
            root=self.root,
            folder=self.folder.path,
            folder_fd=self.folder.fd,
            logfile=logfile,
            reloader=reloader,
            about_to_stop=self._arm,
        )
        signals = Signals(backend, self._act, self._at_once)
        signals.install()
        self.undo.callback(signals.restore)
        for companion in companions:
            beside = companion(self.running)
            self.undo.callback(beside.close)
            self.beside.append(beside)
        self.folder.publish(
            Record.of_this_process(
                self.name,
                self.options.target,
                tuple(sys.argv),
                logfile=logfile,
                pidfile=self.pidfile.path,
                control=os.path.join(self.folder.path, CONTROL),
            )
        )
        try:
            self.root.start()
        except Abandoned:
            return  # it was told to stop; `wait` sees to it
        except GinkgoError:
            raise
        except Exception as error:
            if self.daemon:
                logger.error("%s", self.root.failure, exc_info=error)
            raise ApplicationFailed(str(self.root.failure)) from error
        if self.ready is not None:
            logger.info("%s is ready: pid %d", self.root.path, os.getpid())
            self.ready.ready()

    # -- while it runs ---------------------------------------------------------------------------

    def wait(self) -> int:
        """Wait for the end of the tree. Returns the exit status.

        Raises:
            GinkgoError: what ended it, where that was a failure.
        """
        backend = self.root.backend_in_use
        backend.run(lifecycle.over(backend, self.root))
        logger.info("Stopping.")
        status = self._status()
        Guard(self._take_files_away).arm(
            AFTERWARDS,
            status,
            f"ginkgo: everything has stopped, and Python did not end within {AFTERWARDS:g} s",
        )
        return status

    def _status(self) -> int:
        ending = self.root._ending
        if isinstance(ending, KeyboardInterrupt):
            return 128 + signal.SIGINT
        if isinstance(ending, SystemExit):
            return _exit_status(ending)
        failure = self.root.failure
        if failure is not None:
            error = failure.error
            if isinstance(error, GinkgoError):
                raise error
            raise ApplicationFailed(
                str(failure), hint="The log has its traceback." if self.daemon else None
            )
        return os.EX_SOFTWARE if self.root.stop_errors else 0

    def _act(self, number: int) -> None:
        """What a signal means. Called in the tree's loop."""
        if number == signal.SIGHUP and self.had_terminal and terminal_is_gone():
            number = signal.SIGTERM
        if number == signal.SIGHUP:
            self.running.reloader.begin()
        elif number == signal.SIGUSR1:
            logs.reopen()
        else:
            if number == signal.SIGQUIT:
                self._log_stacks()
            self.root.stop_soon()

    def _at_once(self, number: int, times: int) -> None:
        """Called in the main thread, wherever it is."""
        if number not in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            return
        if number == signal.SIGINT and times > 1:
            self.guard.end_now(128 + number, "ginkgo: ended at once, by a second Ctrl+C")
        self._arm(AFTERWARDS if number == signal.SIGQUIT else None)

    def _arm(self, seconds: float | None = None) -> None:
        """It has been told to stop: see to it that it ends."""
        limit = self.loaded.process.shutdown_timeout if seconds is None else seconds
        self.guard.arm(
            limit,
            os.EX_TEMPFAIL,
            f"ginkgo: it was told to stop, and had not ended after {limit:g} s: ended now",
        )

    def _log_stacks(self) -> None:
        from .stacks import stacks

        logger.warning("SIGQUIT: what everything is doing\n%s", stacks(self.root))

    def _stdout_is_gone(self) -> None:
        if hasattr(self, "root"):
            self.root.stop_soon()

    def _take_files_away(self) -> None:
        """For an end without unwinding: nothing may be there that looks like a running instance."""
        for beside in self.beside:
            beside.withdraw()
        self.pidfile.remove()
        self.folder.release()


def _exit_status(ending: SystemExit) -> int:
    """What Python makes of ``sys.exit(code)``."""
    if ending.code is None:
        return 0
    if isinstance(ending.code, int):
        return ending.code & 0xFF
    print(ending.code, file=sys.stderr)
    return 1
