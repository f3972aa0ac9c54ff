"""Running a tree: the steps of a start in their order, and those of the end in the reverse one.

::

    load        configuration, the target's module        nothing has happened yet
    lock        the runtime folder is ours                 a second start is refused here
    log         opened as root, where it has to be
    make        the services' constructors
    bind        the control address and every server, while that is still allowed
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
import textwrap
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from ..async_ import native
from ..async_.stacks import calling_service
from ..config import settings
from ..core import lifecycle
from ..core.backend import Backend
from ..core.context import context
from ..core.errors import ApplicationFailed, GinkgoError, UsageError
from ..core.failure import Abandoned
from ..core.service import Service
from ..logs import setup as logs
from ..logs.records import Records
from ..logs.ring import Ring
from ..logs.stdio import unbuffer
from ..logs.terminal import BrokenPipe
from ..logs.tracebacks import user_place
from ..servers import inherited
from ..servers.listen import Listener
from . import deeds, init, privileges
from .choosing import Choice, check
from .control_address import open_address
from .daemonize import launch
from .guard import Guard
from .instances import last_logfile
from .launcher import ReadyPipe
from .loading import Loaded, configure, load
from .notify import Notifier
from .options import Companion, Options
from .pidfile import Pidfile
from .reload import Reloader
from .running import LAME_DUCK, Running
from .runtime import CONTROL, PID, Record, RuntimeFolder, instance_name, runtime_folder
from .signals import Early, Signals, Stopped, terminal_is_gone
from .stacks import stacks
from .target import exited, make_service
from .telling import Teller
from .watchdog import Watchdog

logger = logging.getLogger(__name__)

AFTERWARDS = 2.0  # seconds that the interpreter has to end in, when everything has stopped


def run(
    options: Options,
    ready: ReadyPipe | None,
    companions: Sequence[Companion],
    early: Early,
    choice: Choice,
    notifier: Notifier,
) -> int:
    """Load a target and run it until it ends. Returns the exit status.

    Args:
        options: what the command line says.
        ready: the pipe to the launcher; None in the foreground.
        companions: see :func:`ginkgo.process.start.start`.
        early: the signals that have come so far.
        choice: the backend that this process is prepared for.
        notifier: what whoever started this process is told with.

    Raises:
        GinkgoError: why it could not be started, or what ended it.
        Stopped: it was told to stop before it had a tree.
    """
    loaded = load(options, choice)
    if loaded.process.daemon and ready is None and not options.foreground:
        init.refuse_daemon(f"daemon = True ({settings.origin('daemon')})")
        early.restore()
        return launch(options)
    beside = [companion() for companion in companions]
    with ExitStack() as undo:
        process = _Process(options, ready, loaded, early, undo, choice, notifier)
        try:
            process.prepare()
            process.start(beside)
            return process.wait()
        except GinkgoError as error:
            process.tell(error)
            raise


class _Process:
    """The steps, and what they hand on to each other."""

    root: Service

    def __init__(
        self,
        options: Options,
        ready: ReadyPipe | None,
        loaded: Loaded,
        early: Early,
        undo: ExitStack,
        choice: Choice,
        notifier: Notifier,
    ) -> None:
        self.choice = choice
        self.notifier = notifier
        self.options = options
        self.ready = ready
        self.daemon = ready is not None
        self.loaded = loaded
        self.early = early
        self.undo = undo
        self.name = instance_name(options.target)
        self.broken = BrokenPipe(self._stdout_is_gone)
        self.beside: list[Any] = []
        self.guard = Guard(self._take_files_away)
        self.stop_wanted = False
        self.stopped_too_early = False  # there was nothing to stop yet
        self.control_listener: Listener | None = None
        self.reloader: Reloader | None = None
        self.teller: Teller | None = None
        self.had_terminal = not (self.daemon or early.hangup_ignored or terminal_is_gone())

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
        context.backend = self.choice.backend
        backend = context.load_backend(self.choice.backend)
        self._watch_signals(backend)
        self.pidfile = Pidfile(
            settings.pidfile or os.path.join(self.folder.path, PID),
            mode=0o644 if settings.pidfile else 0o600,
            **owner,
        )
        self.pidfile.write()
        self.undo.callback(self.pidfile.remove)
        if not self.daemon and self.loaded.log.logformat == "text":
            print(f"Starting process with {self.options.target}...")
        self.root = make_service(self.loaded.factory, self.loaded.label)
        context.root = self.root
        self.ring.root = self.root.name
        if self.choice.outside:
            self.root.backend = self.choice.backend
        check(self.root, self.choice)
        if self.root.backend_in_use is not backend:  # that of an instance, which nobody could read
            self._watch_signals(self.root.backend_in_use)
        if self.choice.because:
            logger.info("%s: %s runs on %s", self.choice.because, self.root.path, backend.name)
        if identity is not None:
            self._bind(identity)
            logs.give_to(identity.uid, identity.gid)
            privileges.drop(identity)
        privileges.apply_rundir(settings.rundir)

    def _watch_signals(self, backend: Backend) -> None:
        signals = Signals(backend, self._act, self._at_once)
        signals.install()
        self.undo.callback(signals.restore)

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
            logformat=log.logformat,
        )
        self.ring = Ring(caller=calling_service)
        logging.root.addHandler(self.ring)
        self.undo.callback(logging.root.removeHandler, self.ring)
        self.records = Records()
        logging.root.addHandler(self.records)
        self.undo.callback(logging.root.removeHandler, self.records)
        if self.ready is not None:
            self.ready.logfile(log.logfile)
            logs.capture_output()

    def _bind(self, identity: privileges.Identity) -> None:
        """Open what only root may: the control address, and every server of the tree."""
        if self.loaded.process.control is not None:
            self.control_listener = open_address(self.loaded.process.control)
            self.undo.callback(self.control_listener.close)
        for service in self.root.walk():
            bind = getattr(service, "bind", None)
            if callable(bind):
                bind()
                self.undo.callback(service.unbind)  # type: ignore[attr-defined]
                give_to = getattr(service, "give_to", None)
                if give_to is not None:  # a unix socket's file
                    give_to(identity.uid, identity.gid)

    def _has_logged_to(self, logfile: str | None) -> bool:
        """Whether what is in a log file can only be this instance's.

        Any program may have a class of that name, and the default log file in /tmp with it.
        """
        return settings.origin("logfile") != "default" or last_logfile(self.folder.path) == logfile

    def start(self, companions: Sequence[Callable[[Running], Any]]) -> None:
        """Start the tree. Returns when it is ready, or was stopped meanwhile."""
        reloader = self.reloader = Reloader(self.root, lambda: configure(self.loaded, self.daemon))
        logfile = logs.status().path
        self.running = Running(
            name=self.name,
            target=self.options.target,
            root=self.root,
            folder=self.folder.path,
            folder_fd=self.folder.fd,
            logfile=logfile,
            log_before=self._has_logged_to(logfile),
            reloader=reloader,
            about_to_stop=self._arm,
            configure=lambda change: configure(self.loaded, self.daemon, change),
            ring=self.ring,
            records=self.records,
            control_listener=self.control_listener,
        )
        self.undo.callback(self.running.close)
        shutdown = self.loaded.process.shutdown_timeout
        pid = os.getpid() if self.daemon else None
        self.teller = Teller(self.notifier, self.running, shutdown, pid)
        self.undo.callback(self.teller.close)
        self._watch_loops()
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
        if self.stop_wanted:
            raise Stopped
        try:
            self.root.start()
        except Abandoned:
            return  # it was told to stop; `wait` sees to it
        except SystemExit as error:
            failure = self.root.failure
            path = self.root.path if failure is None else list(failure.chain())[-1].path
            raise exited(f"{path}: do_start", error) from error
        except Exception as error:
            raise self._ending(error) from error
        if self.stopped_too_early:
            self.root.stop_soon()
        for number in self.early.noted:
            self._act(number)
        for unused in inherited.unused():
            logger.warning(
                "%s was handed to this process, and no server has taken it: it waits for one with "
                'the address "fd:%s"',
                unused,
                unused.name,
            )
        self.teller.ready()
        if self.ready is not None:
            logger.info("%s is ready: pid %d", self.root.path, os.getpid())
            self.ready.ready()

    def _watch_loops(self) -> None:
        native.name_this_thread("MainThread")
        after = self.loaded.process.blocked_after
        if after:
            watchdog = self.running.watchdog = Watchdog(self.root, after)
            watchdog.start()
            self.undo.callback(watchdog.close)

    def _ending(self, error: BaseException) -> GinkgoError:
        """The error that ends the process because of the application's `error`."""
        if isinstance(error, GinkgoError) and not isinstance(error, UsageError):
            return error
        failed = ApplicationFailed(str(self.root.failure or error))
        failed.__cause__ = error
        return failed

    def tell(self, error: GinkgoError) -> None:
        """Tell the log of a daemon what ends it (a launcher tells the user), and see that it ends.

        A task's error is in the log already.
        """
        if self.daemon and logs.status().path is not None:
            own = error.__cause__ if isinstance(error, ApplicationFailed) else None
            logger.error("%s", error, exc_info=own)
        self._end_soon(error.status)

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
        self._end_soon(status)
        return status

    def _end_soon(self, status: int) -> None:
        Guard(lambda: None).arm(  # by then the files have been taken away
            AFTERWARDS,
            status,
            f"ginkgo: everything has stopped, and Python did not end within {AFTERWARDS:g} s",
        )

    def _status(self) -> int:
        ending = self.root._ending
        if isinstance(ending, KeyboardInterrupt):
            return 128 + signal.SIGINT
        if isinstance(ending, SystemExit):
            return _exit_status(ending)
        failure = self.root.failure
        if failure is not None:
            place = user_place(failure.error)  # its whole traceback is in the log
            raise ApplicationFailed(
                failure.story() + (f" ({place})" if place else ""),
                hint=getattr(failure.error, "hint", None),
            )
        return os.EX_SOFTWARE if self.root.stop_errors else 0

    def _act(self, number: int) -> None:
        """What a signal means. Called in the tree's loop."""
        by = signal.Signals(number).name
        if number == signal.SIGHUP and self.had_terminal and terminal_is_gone():
            number = signal.SIGTERM
            by += ": its terminal is gone"
        if number == signal.SIGUSR1:
            logs.reopen()
        elif number == signal.SIGHUP:
            if self.reloader is None:
                self.early.noted.append(number)  # for when there is something to reload
            else:
                self.reloader.begin(by="SIGHUP")
        elif hasattr(self, "root"):
            deeds.asked(self.root, "stop", by)
            if not self._is_lame_duck(number):
                self.stopped_too_early = self.root.state.current == "init"
                self.root.stop_soon()

    def _is_lame_duck(self, number: int) -> bool:
        """Whether the stop waits: who sends requests has to hear of it before the listeners close.

        Source: Kubernetes, "Termination of Pods": endpoints are taken away while SIGTERM arrives.
        """
        seconds = self.loaded.process.lame_duck_seconds
        teller = self.teller
        if number != signal.SIGTERM or not seconds or teller is None:
            return False
        if self.running.stopping or self.root.state.current != "ready":
            return False  # a second signal ends the wait
        self.running.stopping = LAME_DUCK
        logger.info("Lame duck: not ready any more, and served for %g s still.", seconds)
        teller.lame_duck(seconds)
        deeds.lame_duck(self.root, seconds, signal.Signals(number).name)
        self.root.backend_in_use.later(seconds, self.root.stop_soon)
        return True

    def _at_once(self, number: int, times: int) -> None:
        """Called in the main thread, wherever it is."""
        if number not in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            return
        if number == signal.SIGINT and times > 1:
            self.guard.end_now(128 + number, "ginkgo: ended at once, by a second Ctrl+C")
        if number == signal.SIGQUIT:
            self._write_stacks()
        if number == signal.SIGINT and sys.stderr.isatty():
            os.write(2, b"Stopping; Ctrl+C once more ends it at once.\n")
        self._arm(AFTERWARDS if number == signal.SIGQUIT else None)
        self.stop_wanted = True
        if not hasattr(self, "root"):
            raise Stopped  # out of the constructors

    def _arm(self, seconds: float | None = None) -> None:
        """It has been told to stop: see to it that it ends."""
        limit = self.loaded.process.shutdown_timeout if seconds is None else seconds
        self.guard.arm(
            limit,
            os.EX_TEMPFAIL,
            f"ginkgo: it was told to stop, and had not ended after {limit:g} s: ended now",
        )

    def _write_stacks(self) -> None:
        """Write what everything is doing to stderr; in a daemon that is the log.

        Not by `logging`: a loop that hangs may hang in there.
        """
        text = stacks(self.root) if hasattr(self, "root") else "nothing has been started"
        text = "SIGQUIT: what everything is doing\n" + textwrap.indent(text, "    ")
        try:
            os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # a full disk or a closed terminal is no reason not to stop

    def _stdout_is_gone(self) -> None:
        if hasattr(self, "root"):
            why = "the end of whoever read its standard output"
            self.root.backend_to_ask.post(partial(deeds.asked, self.root, "stop", why))
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
