"""The command ``ginkgoctl``: manage a service that runs as a daemon.

It looks the instance up by the lock in its runtime folder and talks to its control socket. Neither
the application nor its config file is imported, the current folder is no place to import from, and
each action imports only what it needs: ``ginkgoctl app status`` is for monitors that ask often.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from ..process.instances import Found

ACTIONS = {
    "start": ("lifecycle", "start it as a daemon; returns when it is ready"),
    "stop": ("lifecycle", "stop it; returns when it is gone"),
    "restart": ("lifecycle", "stop it, then start it"),
    "reload": ("instance", "reload its configuration, and tell what changed"),
    "status": ("instance", "show how it is"),
    "dump": ("stacks", "show what each of its threads, greenlets and tasks does"),
    "wait": ("instance", "return when it is ready, or with --for stopped when it is gone"),
    "log": ("logs", "print its log"),
    "logtail": ("logs", "print the end of its log, and what is added to it"),
}
"""What can be done, in which module of this package that is, and what it is."""

DESCRIPTION = "Manage a service that runs as a daemon."

EPILOG = """\
exit status:
  0 done (also: started though running, stopped though not running)
  status: 0 ready, 3 not running, 4 unknown, 150 starting or stopping, 151 a service failed
  2 wrong usage, 7 not running, 70 the application failed, 75 not in time, 77 no permission,
  78 the configuration is wrong

examples:
  ginkgoctl service.conf.py start
  ginkgoctl service.HelloWorld status --json
  ginkgoctl -p /run/app.pid stop
"""


def main(argv: list[str] | None = None) -> int:
    """The console script. Returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["-v"], ["--version"]):
        from .. import __version__

        print(f"ginkgoctl {__version__}")
        return 0
    from ..core.errors import GinkgoError
    from .output import abandon_stdout, prepare, print_error

    prepare(sys.stdout)
    prepare(sys.stderr)
    try:
        status = act(parse(arguments))
        sys.stdout.flush()
    except GinkgoError as error:
        print_error("ginkgoctl", error, as_json="--json" in arguments)
        return error.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        abandon_stdout()
        return 141
    return status


def act(options: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit status."""
    module = import_module(f".{ACTIONS[options.action][0]}", __package__)
    status: int = getattr(module, options.action)(options)
    return status


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; the target may stand before the action or behind it.

    Raises:
        UsageError: they make no sense.
    """
    from ..core.errors import UsageError

    options = parser().parse_intermixed_args(arguments)
    words: list[str] = options.words
    actions = [word for word in words if word in ACTIONS]
    if not actions:
        raise UsageError(_no_action(words), hint=f"one of {', '.join(ACTIONS)}; see `ginkgoctl -h`")
    if len(words) > 2 and len(actions) > 1:
        raise UsageError(
            f"{' and '.join(actions)} are more than one action",
            hint="give one, and the others in commands of their own",
        )
    # A target has a dot or a slash in it: it is no action's name, unless somebody wants it so.
    options.action = words.pop() if words[-1] in ACTIONS else words.pop(0)
    if options.action not in ACTIONS or len(words) > 1:
        raise UsageError(f"{' '.join(words)!r} is more than one target", hint="see `ginkgoctl -h`")
    options.target = words[0] if words else None
    if options.target is None and options.pid is None:
        raise UsageError(
            f"{options.action} needs a target, or -p with a pid or a pidfile",
            hint=f"for example: ginkgoctl service.conf.py {options.action}",
        )
    if options.target is not None and options.pid is not None:
        raise UsageError("a target and -p are two ways to name one thing", hint="give one of them")
    return options


def _no_action(words: list[str]) -> str:
    """What to say of words among which no action is."""
    if not words:
        return "an action is missing"
    last = words[-1]
    if len(words) == 1 and ("." in last or "/" in last):  # so has every target, and no action
        return f"an action is missing: what about {last}?"
    return f"{last!r} is no action"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    import argparse

    from .. import __version__
    from ..core.errors import UsageError

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> None:  # type: ignore[override]
            raise UsageError(message, hint="see `ginkgoctl -h`")

    names = ",".join(ACTIONS)
    lines = "".join(f"  {name:<10}{text}\n" for name, (_, text) in ACTIONS.items())
    made = Parser(
        prog="ginkgoctl",
        usage=f"ginkgoctl [-h] [-v] [-p PID] [options]\n                 [target] {{{names}}}",
        description=DESCRIPTION,
        epilog=f"actions:\n{lines}\n{EPILOG}",
        allow_abbrev=False,
        # With a width of its own: to find the terminal's, it would import shutil at every call.
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=79),
    )
    made.add_argument("-v", "--version", action="version", version=f"ginkgoctl {__version__}")
    made.add_argument("-p", "--pid", help="pid or pidfile to use instead of target")
    made.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="how long to wait, for the action's end"
    )
    made.add_argument("--json", action="store_true", help="print JSON, errors too")
    made.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    made.add_argument(
        "--force", action="store_true", help="stop, restart: send signals instead of asking"
    )
    made.add_argument(
        "--kill-on-timeout", action="store_true", help="start: end what is not ready in time"
    )
    made.add_argument(
        "--for",
        dest="wanted",
        choices=("ready", "stopped"),
        default="ready",
        metavar="STATE",
        help="wait: for ready or stopped [ready]",
    )
    made.add_argument(
        "-n", "--lines", type=count, default=20, help="logtail: how many lines first [20]"
    )
    made.add_argument(
        "--raw", action="store_true", help="log, logtail: control characters as they are"
    )
    made.add_argument(
        "words",
        nargs="*",
        metavar="target",
        help="service class path to use (modulename.ServiceClass) or configuration file path to "
        "use (/path/to/config.py)",
    )
    return made


def seconds(text: str) -> float:
    """Return a number of seconds from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:  # false for nan too
        raise _refused(text, "a number of seconds")
    return value


def count(text: str) -> int:
    """Return a number of lines from the command line."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise _refused(text, "a number of lines")
    return value


def _refused(text: str, what: str) -> argparse.ArgumentTypeError:
    import argparse

    return argparse.ArgumentTypeError(f"{text!r} is not {what}")


def locate(options: argparse.Namespace) -> tuple[Found, str]:
    """Find the instance that is meant, and what to call it."""
    from ..process.instances import find
    from ..process.places import instance_name

    pid: str | None = options.pid
    if pid is None:
        return find(options.target), instance_name(options.target)
    if pid.isdecimal():
        found, name = find(pid=int(pid[:11])), f"pid {pid}"
    else:
        found, name = find(pidfile=pid), pid
    return found, name if found.record is None else found.record.name


if __name__ == "__main__":
    sys.exit(main())
