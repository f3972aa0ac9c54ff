"""The first steps of ``ginkgo TARGET``, before anything of the application is imported.

What has to come first: the descriptors 0 to 2 are there, signals are as they should be; and where
the tree runs on gevent, the standard library is patched. A daemon is started by a launcher, which
does none of this and only waits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..core.errors import ApplicationFailed, GinkgoError, TemporaryFailure
from .choosing import Choice, choose
from .options import Companion, Options
from .places import is_config_file
from .target import check_exists


def start(options: Options, companions: Sequence[Companion] = ()) -> int:
    """Run a target until it ends, or start it as a daemon.

    Args:
        options: what the command line says.
        companions: what runs beside the tree. Each is called while everything may still be
            imported, and returns what is called with the :class:`~ginkgo.process.running.Running`
            tree later; that returns what has a ``close()``, for the end, and a ``withdraw()``, for
            an end without unwinding.

    Returns:
        The exit status of a launch. The process of a tree that has run ends here.

    Raises:
        GinkgoError: why it could not be started, or what ended it.
    """
    from . import hygiene, init, launcher, signals
    from .notify import Notifier

    inherited = hygiene.prepare()
    ready = launcher.ReadyPipe.inherited()
    if options.daemon and ready is None:
        init.refuse_daemon("-d")
        return _launch(options)
    early = signals.Early(ignored=inherited.ignored)
    pid = os.getpid()
    init.divide()
    notifier = Notifier()
    try:
        known = look_ahead(options)
        if known.get("daemon") is True and ready is None and not options.foreground:
            init.refuse_daemon("daemon = True")
            early.restore()
            return _launch(options)
        take_sockets(pid)
        notifier = Notifier.inherited(os.environ, pid)
        choice = patch_for(options)
        from .runner import run

        status = run(options, ready, companions, early, choice, notifier)
    except (KeyboardInterrupt, signals.Stopped):  # before there was a tree to stop in order
        status = 0
        if ready is not None:
            ready.fail(TemporaryFailure("it was told to stop before it was ready"))
    except GinkgoError as error:
        hide_in(error)
        if ready is None:
            raise
        # Everything is unwound by now: whoever reads this may start it again at once.
        ready.fail(error, users_traceback(error))
        status = error.status
    finally:
        notifier.close()
    from .guard import leave

    return leave(status)


def _launch(options: Options) -> int:
    from .daemonize import launch  # brings subprocess along

    return launch(options)


def take_sockets(pid: int) -> None:
    """Offer the servers what a socket unit has handed over to process `pid`.

    Raises:
        ConfigError: it is nothing that a server can have.
    """
    if "LISTEN_FDS" in os.environ:
        from ..servers import inherited
        from .activation import inherited_sockets

        inherited.offer(inherited_sockets(os.environ, pid))


def users_traceback(error: GinkgoError) -> str:
    """The traceback of the application's own exception, if that is why there is an error."""
    if not isinstance(error, ApplicationFailed) or error.__cause__ is None:
        return ""
    from ..logs.hiding import hide
    from ..logs.tracebacks import user_traceback

    return hide(user_traceback(error.__cause__))


def hide_in(error: GinkgoError) -> None:
    """Let what an error says, which is about to be printed, have no secret in it."""
    from ..logs.hiding import hide

    if error.args:
        error.args = (hide(str(error)), *error.args[1:])
    if error.hint:
        error.hint = hide(error.hint)


def look_ahead(options: Options) -> dict[str, Any]:
    """What the config file says in so many words, without running it."""
    if not is_config_file(options.target):
        return {}
    check_exists(options.target)
    from ..config import peek

    return peek(options.target)


def patch_for(options: Options) -> Choice:
    """Make the standard library cooperative where the tree of this target runs on gevent.

    Before anything of the application is imported, so that what it imports is patched too.

    Returns:
        The backend that the process is now prepared for.
    """
    known = look_ahead(options)
    choice = choose(options, known)
    given = dict(each.partition("=")[::2] for each in options.assignments)
    wanted = given.get("monkey_patch") or os.environ.get("GINKGO_MONKEY_PATCH")
    if wanted is None:
        wanted = known.get("monkey_patch", True)
    patched = str(wanted).strip().lower() not in ("false", "0", "no", "off")
    if patched and choice.backend == "gevent":
        from ..async_.patching import patch

        patch()
    return replace(choice, patch=patched)
