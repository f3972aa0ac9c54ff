"""``ginkgo unit TARGET``: a unit file for systemd."""

from __future__ import annotations

import argparse
import re

from ..core.errors import UsageError


def parser() -> argparse.ArgumentParser:
    """Return the parser of its command line."""
    from .main import TARGET_HELP, add_common

    made = argparse.ArgumentParser(
        prog="ginkgo unit",
        description="Print a unit file for systemd, made from the settings of a target: its "
        "service, or with --socket the sockets of its servers. Nothing is installed.",
        allow_abbrev=False,
    )
    made.add_argument("--user", action="store_true", help="for `systemctl --user`")
    made.add_argument("--socket", action="store_true", help="print the socket unit")
    made.add_argument(
        "--listen",
        metavar="NAME=ADDRESS",
        help='with --socket: where the socket of a server with the address "fd:NAME" listens',
    )
    made.add_argument("--name", help="of the unit; otherwise it is called after the target")
    made.add_argument(
        "--systemd",
        metavar="VERSION",
        type=int,
        help="the version of systemd that is going to read it; otherwise this machine's",
    )
    add_common(made)
    made.add_argument("target", metavar="TARGET", help=TARGET_HELP)
    return made


def run(options: argparse.Namespace) -> int:
    """Print a unit file. Returns 0.

    Raises:
        UsageError: there is nothing to print.
        GinkgoError: the target cannot be loaded.
    """
    from ..process.deployment import deployment_of
    from ..process.options import Options
    from ..process.unit import Wish, service_unit, socket_unit
    from ..servers.addresses import Address

    if options.listen and not options.socket:
        raise UsageError("--listen belongs to --socket")
    wanted = Options(options.target, assignments=tuple(options.set), backend=options.backend)
    what = deployment_of(wanted, options.name)
    wish = Wish(options.user, options.systemd or _version())
    if not options.socket:
        print(service_unit(what, wish), end="")
        return 0
    listen = None
    if options.listen:
        name, equals, address = options.listen.partition("=")
        if not equals:
            raise UsageError(f"--listen {options.listen}: write NAME=ADDRESS, web=8000 for example")
        listen = (name, Address.parse(address))
    print(socket_unit(what, wish, listen), end="")
    return 0


def _version() -> int:
    """This machine's version of systemd; where it has none, one that knows all we write."""
    import subprocess

    try:
        said = subprocess.run(
            ["systemctl", "--version"],  # noqa: S607 - whichever this user's is
            capture_output=True,
            text=True,
            timeout=5,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 255
