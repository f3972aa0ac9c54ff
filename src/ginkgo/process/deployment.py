"""What a unit file or a Dockerfile has to know of a target: asked of the target itself.

The settings and the servers' addresses come from one place, so that ports, users and timeouts of
whoever starts the daemon agree with the daemon's own.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass

from ..config import settings
from ..core.errors import UsageError
from ..core.service import Service
from ..servers.addresses import Address
from .loading import load
from .options import Options
from .places import is_config_file
from .start import patch_for
from .target import make_service

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Listens:
    """A server of the tree, and where it wants to listen."""

    path: str
    address: Address
    datagram: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """A target, as those who deploy it see it.

    Attributes:
        name: of the unit, the image's user and so on.
        target: the absolute path of the config file, or the dotted name.
        folder: where it has been started from, and its modules are found.
        program: the absolute path of ``ginkgo``, or Python's with ``-m ginkgo``.
        arguments: what comes between the program and the target.
        user, group: of the settings; empty for none.
        start_timeout, shutdown_timeout: seconds.
        umask: as four octal digits; empty where the setting says nothing.
        listens: the servers.
        writes: folders that it has to be able to write, beside its own.
        control: the address of the page, the metrics and the probes; empty for none.
    """

    name: str
    target: str
    folder: str
    program: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    user: str = ""
    group: str = ""
    start_timeout: float = 30.0
    shutdown_timeout: float = 25.0
    umask: str = ""
    listens: tuple[Listens, ...] = ()
    writes: tuple[str, ...] = ()
    control: str = ""

    @property
    def low_ports(self) -> bool:
        """Whether a server wants a port that only root may have."""
        return any(0 < each.address.port < 1024 for each in self.listens)


def deployment_of(options: Options, name: str | None = None) -> Deployment:
    """Load a target, make its tree, and return what is to be known of it. Nothing is started.

    Args:
        options: what the command line says.
        name: what to call it; None: after the target.

    Raises:
        UsageError: that is no name, or a secret would be written where everybody can read it.
        GinkgoError: the target cannot be loaded.
    """
    loaded = load(options, patch_for(options))
    _refuse_secrets(options)
    root = make_service(loaded.factory, loaded.label)
    process = loaded.process
    name = name or _name_of(options.target)
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: a name has letters, digits, dots, dashes and underscores")
    listens = tuple(_listens(root))
    files = [each.address.path for each in listens if each.address.path]
    files += [process.pidfile] if process.pidfile else []
    return Deployment(
        name=name,
        target=os.path.abspath(options.target)
        if is_config_file(options.target)
        else options.target,
        folder=os.getcwd(),
        program=_program(),
        arguments=_arguments(options, daemon=process.daemon),
        user="" if process.user is None else str(process.user),
        group="" if process.group is None else str(process.group),
        start_timeout=process.start_timeout,
        shutdown_timeout=process.shutdown_timeout,
        umask="" if process.umask is None else f"{_umask(process.umask):04o}",
        listens=listens,
        writes=tuple(sorted({os.path.dirname(os.path.abspath(each)) for each in files})),
        control=process.control or "",
    )


def _name_of(target: str) -> str:
    if is_config_file(target):
        stem = os.path.basename(target).removesuffix(".py").removesuffix(".conf")
    else:
        stem = target.rpartition(".")[2].lower()
    return re.sub(r"[^A-Za-z0-9_.-]", "-", stem).strip(".-") or "app"


def _program() -> tuple[str, ...]:
    folder = os.path.dirname(os.path.abspath(sys.executable))
    beside = os.path.join(folder, "ginkgo")
    if os.access(beside, os.X_OK):
        return (beside,)
    found = shutil.which("ginkgo")
    return (os.path.abspath(found),) if found else (os.path.abspath(sys.executable), "-m", "ginkgo")


def _arguments(options: Options, *, daemon: bool) -> tuple[str, ...]:
    found = []
    for assignment in options.assignments:
        found += ["--set", assignment]
    if options.backend is not None:
        found += ["--backend", options.backend]
    if daemon:
        found += ["--set", "daemon=False"]  # who supervises it has to see it
    return tuple(found)


def _refuse_secrets(options: Options) -> None:
    given = {each.partition("=")[0].strip().lower() for each in options.assignments}
    for setting in settings.declared():
        if setting.secret and setting.path in given:
            raise UsageError(
                f"--set {setting.path}: that is a secret, and everybody can read what is printed "
                "here",
                hint="Leave it to the environment, from a file that only the daemon's user may "
                f"read: GINKGO_{setting.path.upper().replace('.', '__')}.",
            )


def _listens(root: Service) -> list[Listens]:
    found = []
    for service in root.walk():
        address = getattr(service, "address", None)
        if isinstance(address, Address) and callable(getattr(service, "bind", None)):
            datagram = getattr(service, "_noun", "") == "datagram"
            found.append(Listens(service.path, address, datagram))
    return found


def _umask(value: int | str) -> int:
    from .privileges import read_umask

    return read_umask(value)
