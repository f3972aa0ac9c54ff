"""The command ``ginkgo``: run a target, show its settings, check its configuration.

Nothing is imported before it is known that it is needed: ``ginkgo --version`` costs a bare
interpreter and little more, and gevent has to patch the standard library before anything else of
the application is imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..control.backdoor import Backdoor
    from ..control.server import ControlServer
    from ..process.options import Options
    from ..process.running import Running

USAGE = "ginkgo [-h] [-v] [-d] [--set NAME=VALUE] [--backend NAME] TARGET"

COMMANDS = ("dev", "new", "doctor", "unit", "dockerfile")
"""Each is a module of this package, with `parser()` and `run(options)`."""

EPILOG = """\
commands:
  ginkgo TARGET             run it in the foreground; Ctrl+C stops it in order
  ginkgo -d TARGET          run it as a daemon; returns when it is ready
  ginkgo TARGET -h          show its settings: help, default, value and origin
  ginkgo check TARGET       check its configuration, and start nothing
  ginkgo dev [TARGET]       run it, and anew when a file changes that it has imported
  ginkgo unit TARGET        print a unit file for systemd
  ginkgo dockerfile TARGET  print a Dockerfile
  ginkgo new NAME           make a project of few files that runs
  ginkgo doctor             tell what a bug report needs, and what is wrong here
  ginkgoctl TARGET ACTION   manage the daemon

examples:
  ginkgo quickstart.HelloWorld
  ginkgo --set message=Hi service.conf.py
"""


def main(argv: list[str] | None = None) -> int:
    """The console script. Returns the exit status (sysexits(3))."""
    arguments = sys.argv[1:] if argv is None else argv
    from .output import carry_out, have_streams

    have_streams()
    return carry_out("ginkgo", lambda: _carry_out(arguments))


def _carry_out(arguments: list[str]) -> int:
    from ..core.errors import GinkgoError
    from .output import print_error

    if arguments in (["-v"], ["--version"]):
        from .. import __version__

        print(f"ginkgo {__version__}")
        return 0
    try:
        if arguments[:1] == ["check"]:
            from .check import check

            return check(_check_parser().parse_args(arguments[1:]))
        if arguments[:1] and arguments[0] in COMMANDS:
            return _command(*arguments)
        return _run(arguments)
    except GinkgoError as error:
        from ..process.start import users_traceback

        traceback = users_traceback(error)
        if traceback:
            print(traceback, file=sys.stderr)
        print_error("ginkgo", error)
        return error.status


def _command(name: str, *arguments: str) -> int:
    """Carry out one of the commands that have a module of their own."""
    from importlib import import_module

    module = import_module(f".{name}", __package__)
    status: int = module.run(module.parser().parse_args(arguments))
    return status


def _run(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.help and options.target is None:
        parser.print_help()
        return 0
    from ..process.target import need_target

    if options.target is None and not arguments:
        parser.print_usage(sys.stderr)
    need_target(options.target)
    if options.help:
        from ..process.start import patch_for
        from .settings import show_settings

        wanted = _wanted(options)
        choice = patch_for(wanted)
        parser.print_help()
        print()
        return show_settings(wanted, choice)
    from ..process.start import start

    return start(_wanted(options), companions=(control, backdoor))


def _wanted(options: argparse.Namespace) -> Options:
    from ..process.options import Options

    return Options(
        target=options.target,
        daemon=options.daemonize,
        assignments=tuple(options.set),
        backend=options.backend,
    )


def control() -> Callable[[Running], ControlServer]:
    """What runs beside every tree: its control socket."""
    from typing import cast

    from ..control.attach import attach

    # `process` stands below `control` and does not know its types: they agree by their shape.
    return cast("Callable[[Running], ControlServer]", attach)


def backdoor() -> Callable[[Running], Backdoor]:
    """What runs beside a tree whose setting `backdoor` says so."""
    from typing import cast

    from ..control.backdoor import attach

    return cast("Callable[[Running], Backdoor]", attach)


def _parser() -> argparse.ArgumentParser:
    import argparse

    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="ginkgo",
        usage=USAGE,
        description="Run a service: in the foreground, or with -d as a daemon.",
        epilog=EPILOG,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-h",
        "--help",
        action="store_true",
        help="show program's help text and exit; with a target, its settings too",
    )
    parser.add_argument("-v", "--version", action="version", version=f"ginkgo {__version__}")
    parser.add_argument("-d", "--daemonize", action="store_true", help="daemonize the service")
    add_common(parser)
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    return parser


def _check_parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="ginkgo check",
        description="Check a target's configuration and start nothing: all errors at once, each "
        "with file and line. The exit status is 78 when there is one.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a name that is nearly a setting's is an error, not a warning",
    )
    add_common(parser)
    parser.add_argument("target", metavar="TARGET", help=TARGET_HELP)
    return parser


TARGET_HELP = (
    "service class path to run (modulename.ServiceClass) or configuration file path to use "
    "(/path/to/config.py)"
)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all that load a target."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="what the services run on: gevent (the default), asyncio or threading",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a setting, over the config file and the environment; may be repeated",
    )


if __name__ == "__main__":
    sys.exit(main())
