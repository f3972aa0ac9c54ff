"""The errors that Ginkgo raises itself: one family, each with an exit status.

An error is raised where its cause is known and printed in one place, the command line. Its message
says what happened, to which service (its path) or setting (its file and line), and why; its hint
says what to do next. The exit statuses are those of sysexits(3), so that systemd and scripts can
tell a typing error from an outage.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from typing import ClassVar


class GinkgoError(Exception):
    """Something that a person has to know, in words for that person.

    Args:
        message: what happened, to what, and why.
        hint: what to do next, or None.
    """

    status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(GinkgoError):
    """A command was called with arguments that make no sense."""

    status = 2


class NotRunning(GinkgoError):
    """A command needs a running instance, and there is none (LSB's status 7)."""

    status = 7


class TargetNotFound(GinkgoError):
    """The module, the name in it, or the file that was named does not exist."""

    status = os.EX_NOINPUT


class NoSuchUser(GinkgoError):
    """The user or group to run as does not exist."""

    status = os.EX_NOUSER


class Unavailable(GinkgoError):
    """An address is taken, or a service that is needed cannot be reached."""

    status = os.EX_UNAVAILABLE


class ApplicationFailed(GinkgoError):
    """The user's own code raised; the original exception is the `__cause__`."""

    status = os.EX_SOFTWARE


class SystemFailure(GinkgoError):
    """The operating system refused something that it normally does."""

    status = os.EX_OSERR


class CannotCreate(GinkgoError):
    """A file, folder or socket that is needed cannot be made."""

    status = os.EX_CANTCREAT


class TemporaryFailure(GinkgoError):
    """It did not work now, and may work later: a timeout, or somebody else is at it."""

    status = os.EX_TEMPFAIL


class PermissionDenied(GinkgoError):
    """This user may not do that."""

    status = os.EX_NOPERM


class ConfigError(GinkgoError):
    """The configuration is wrong."""

    status = os.EX_CONFIG
