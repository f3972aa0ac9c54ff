"""From certificate files to a TLS context with today's defaults.

The defaults are those of :func:`ssl.create_default_context`, TLS 1.2 at least. A client verifies
the server's certificate and name unless it brings a context of its own. The :mod:`ssl` module takes
10 ms to import: that is left to those who use it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.errors import ConfigError

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)


class Certificate:
    """A server's certificate: the files it is in, and the context that was made of them.

    Args:
        certfile: a PEM file with the certificate, and those between it and the root.
        keyfile: a PEM file with the private key; None when it is in `certfile` too.
        ssl_context: a context that the caller has made, instead of the files.

    Raises:
        ConfigError: both files and a context were given, or a key without a certificate.
    """

    def __init__(
        self,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if ssl_context is not None and (certfile or keyfile):
            raise ConfigError("certfile and keyfile make a context: ssl_context is one too much")
        if keyfile and not certfile:
            raise ConfigError(f"keyfile {os.fspath(keyfile)} needs a certfile")
        self._certfile = os.fspath(certfile) if certfile else None
        self._keyfile = os.fspath(keyfile) if keyfile else None
        self._given = ssl_context
        self._made: ssl.SSLContext | None = None
        self._seen: list[tuple[int, int]] = []

    @property
    def context(self) -> ssl.SSLContext | None:
        """The context of new connections; None where there is no TLS."""
        return self._given or self._made

    def load(self) -> None:
        """Read the files, if they are not what they were when they were last read.

        Connections that exist keep their certificate. When it fails, the old one stays in use.

        Raises:
            ConfigError: a file cannot be read, or is not what it should be; the message names it.
        """
        if self._given is not None:
            _let_answers_out(self._given)
        elif self._certfile is not None:
            files = [self._certfile, *([self._keyfile] if self._keyfile else [])]
            seen = [_version(file) for file in files]
            if self._made is None or seen != self._seen:
                self._made, self._seen = _made_of(self._certfile, self._keyfile), seen

    def reload(self) -> None:
        """Read the files again, as :meth:`load` does.

        A process that has given up its privileges may not be able to: that is told in the log, and
        is no error, because nothing is wrong with the configuration.
        """
        try:
            self.load()
        except ConfigError as error:
            if self._made is None or not isinstance(error.__cause__, PermissionError):
                raise
            logger.warning("the certificate stays as it is: %s", error)


def _made_of(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_chain(context, certfile, keyfile)
    _let_answers_out(context)
    return context


def _let_answers_out(context: ssl.SSLContext) -> None:
    """Let connections whose input has ended without a goodbye still be written to.

    At a stop handlers are told the end of their input, and may answer. Since OpenSSL 3 that would
    break the connection. For a reader nothing changes: Python's sockets do not tell the two ends
    apart (``suppress_ragged_eofs``).
    """
    import ssl

    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF


def client_context(
    *,
    cafile: str | None = None,
    certfile: str | None = None,
    keyfile: str | None = None,
) -> ssl.SSLContext:
    """Return a context for a client that verifies whom it talks to.

    Args:
        cafile: a PEM file with the roots to trust; None for those of the system.
        certfile, keyfile: the client's own certificate, where the server asks for one.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be.
    """
    import ssl

    if cafile is not None:
        _check_readable("cafile", cafile)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=cafile)
    except ssl.SSLError as error:
        raise ConfigError(f"cafile {cafile} has no usable certificate: {_reason(error)}") from error
    if certfile is not None:
        load_chain(context, certfile, keyfile)
    return context


def load_chain(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    """Load certificate and key into `context`; the error says which file is wrong, and why."""
    import ssl

    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    _check_readable("certfile", certfile)
    if keyfile is not None:
        _check_readable("keyfile", keyfile)
    private = keyfile or certfile
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password(private))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key in {private} does not belong to the certificate in {certfile}"
        else:
            files = certfile if private == certfile else f"{certfile} and {private}"
            message = f"no usable certificate and key in {files}: {_reason(error)}"
        raise ConfigError(
            message, hint="Both are PEM files, the key without a password: -----BEGIN ..."
        ) from error
    if os.stat(private).st_mode & 0o004:
        logger.warning("%s: every user of this machine can read this private key", private)


def _check_readable(what: str, file: str) -> None:
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except OSError as error:
        raise ConfigError(f"{what} {file} cannot be read: {error.strerror}") from error


def _no_password(file: str) -> Callable[[], str]:
    """Without this OpenSSL would ask for the password on the terminal, and block for ever."""

    def refuse() -> str:
        raise ConfigError(
            f"the key in {file} is encrypted",
            hint="Decrypt it, or give an ssl_context that has loaded it with its password.",
        )

    return refuse


def _version(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    return status.st_ino, status.st_mtime_ns


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
