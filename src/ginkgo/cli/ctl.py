"""The command ``ginkgoctl``: manage a service that runs as a daemon.

It looks the instance up by the lock in its runtime folder and talks to its control socket. Neither
the application nor its config file is imported, the current folder is no place to import from, and
each action imports only what it needs: ``ginkgoctl app status`` is for monitors that ask often.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from ..process.instances import Found

ACTIONS = {
    "start": ("lifecycle.start", "", "start it as a daemon; returns when it is ready"),
    "stop": ("lifecycle.stop", "[PATH]", "stop it, or one service of it"),
    "restart": ("lifecycle.restart", "[PATH]", "stop it, or one service of it, and start it"),
    "reload": ("instance.reload", "[PATH]", "reload its configuration, and tell what changed"),
    "status": ("instance.status", "", "show how it is"),
    "ls": ("listing.ls", "", "show all instances of this user; takes no target"),
    "tree": ("trees.tree", "", "show its services, and the state of each"),
    "top": ("top.top", "", "show what it costs and does, again and again"),
    "events": ("events.events", "", "show what has happened in it"),
    "set": ("steering.set_setting", "NAME VALUE", "set a setting, until it ends or --for a time"),
    "settings": ("steering.settings", "", "show its settings, and where each comes from"),
    "log-level": ("steering.set_level", "LOGGER LEVEL", "set the level of a logger, likewise"),
    "dump": ("stacks.dump", "", "show what each thread, greenlet and task does"),
    "shell": ("shell.shell", "", "a Python prompt in it, where `backdoor` is True"),
    "wait": ("instance.wait", "", "return when it is ready, or --for stopped: gone"),
    "log": ("logs.log", "", "print its log"),
    "logtail": ("logs.logtail", "", "print the end of its log, and what is added"),
    "logs": ("records.logs", "", "print the end of its log, filtered"),
    "completion": ("completion.completion", "SHELL", "print what completes in bash, zsh or fish"),
}
"""What can be done: where in this package that is, what follows it, and what it is."""

WITHOUT_TARGET = ("ls", "completion")

OPTIONS: dict[str, tuple[str, ...]] = {
    "--force": ("stop", "restart"),
    "--kill-on-timeout": ("start",),
    "--for": ("wait", "set", "log-level"),
    "--lines": ("logtail", "logs", "events"),
    "--follow": ("logs", "events"),
    "--service": ("logs", "events"),
    "--level": ("logs",),
    "--grep": ("logs",),
    "--kind": ("events",),
    "--all": ("tree",),
    "--once": ("top",),
    "--every": ("top",),
    "--raw": ("log", "logtail"),
}
"""The options that only some actions take, and which; all others are for every action."""

UNSET = "a shell variable that is not set may be why"
"""What to look for where a word of the command line is empty: it names nothing."""

MOST = 1000
"""Lines that an instance shows of its log and of its events."""

OF_SERVICES = "steering.on_service"
"""What does those actions that take a [PATH], where one is given."""


def main(argv: list[str] | None = None) -> int:
    """The console script. Returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["__complete"]:
        from .candidates import print_candidates

        return print_candidates(arguments[1:])
    from .output import carry_out, have_streams, prepare

    have_streams()
    prepare(sys.stdout)
    prepare(sys.stderr)
    return carry_out("ginkgoctl", partial(_carry_out, arguments), as_json="--json" in arguments)


def _carry_out(arguments: list[str]) -> int:
    from ..core.errors import GinkgoError
    from .output import print_error

    if arguments in (["-v"], ["--version"]):
        from .. import __version__

        print(f"ginkgoctl {__version__}")
        return 0
    try:
        options = parse(arguments)
    except GinkgoError as error:
        print_error("ginkgoctl", error, as_json="--json" in arguments)
        return error.status
    try:
        return act(options)
    except GinkgoError as error:
        print_error("ginkgoctl", error, as_json=options.json, words=partial(addressed, options))
        return error.status


def act(options: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit status."""
    if options.no_color:
        from .output import without_colours

        without_colours()
    place, follows, _ = ACTIONS[options.action]
    if follows == "[PATH]" and options.arguments:
        place = OF_SERVICES
    module, function = place.split(".")
    status: int = getattr(import_module(f".{module}", __package__), function)(options)
    return status


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; the target may stand before the action or behind it.

    Raises:
        UsageError: they make no sense.
    """
    from ..core.errors import UsageError
    from .arguments import parser

    about = {name: (follows, text) for name, (_, follows, text) in ACTIONS.items()}
    try:
        options = parser(about).parse_intermixed_args(arguments)
    except UsageError as error:
        error.hint = _behind_dashes(arguments, str(error)) or error.hint
        raise
    words: list[str] = options.words
    at = _place_of_action(words, targeted=options.pid is None)
    options.action = words.pop(at)
    targeted = options.action not in WITHOUT_TARGET and (options.pid is None or at > 0)
    options.target = words.pop(0) if targeted and words else None
    options.arguments = words
    _check(options)
    _check_options(options)
    _read_lasting(options)
    options.lines = 20 if options.lines is None else options.lines
    options.every = 2.0 if options.every is None else options.every
    return options


def _behind_dashes(arguments: list[str], wrong: str) -> str | None:
    """How to set what begins with a dash, if that is what somebody wanted."""
    _, found, value = wrong.partition("unrecognized arguments: ")
    if not found or "set" not in arguments or value not in arguments:
        return None
    from shlex import join

    rest = [one for one in arguments if one != value]
    command = join(["ginkgoctl", *rest, "--", value])
    return f"a value that begins with a dash stands behind --: {command}"


def _place_of_action(words: list[str], *, targeted: bool) -> int:
    """Where the action is: it comes first, or behind the target."""
    from ..core.errors import UsageError

    # A target has a dot or a slash in it: it is no action's name, unless somebody wants it so.
    if targeted and len(words) == 2 and words[1] in ACTIONS and words[0] not in WITHOUT_TARGET:
        return 1
    for at, word in enumerate(words[:2]):
        if word in ACTIONS:
            return at
    if any(word in ACTIONS for word in words):
        at = next(at for at, word in enumerate(words) if word in ACTIONS)
        raise UsageError(
            f"{' '.join(words[:at])!r} is more than one target", hint="see `ginkgoctl -h`"
        )
    raise UsageError(_no_action(words), hint=f"one of {', '.join(ACTIONS)}; see `ginkgoctl -h`")


def _check(options: argparse.Namespace) -> None:
    """Insist on a target, and on what has to follow the action.

    Raises:
        UsageError: something is missing, or too much.
    """
    from ..core.errors import UsageError

    action, target, given = options.action, options.target, options.arguments
    follows = ACTIONS[action][1]
    names = follows.split()
    second = next((one for one in (target, *given) if one in ACTIONS and "/" not in one), None)
    if second is not None and given and follows in ("", "[PATH]"):
        raise UsageError(
            f"{action} and {second} are more than one action",
            hint="give one, and the others in commands of their own",
        )
    if options.pid == "":
        raise UsageError("-p is empty", hint=UNSET)
    if target is None and options.pid is None and action not in WITHOUT_TARGET:
        raise UsageError(
            f"{action} needs a target, or -p with a pid or a pidfile",
            hint=f"for example: ginkgoctl service.conf.py {action} {follows}".rstrip(),
        )
    if target is not None and options.pid is not None:
        raise UsageError("a target and -p are two ways to name one thing", hint="give one of them")
    called = {"target": target, **dict(zip(names, given, strict=False))}
    empty = next((name for name in called if called[name] == "" and name != "VALUE"), None)
    if empty is not None:
        raise UsageError(f"the {empty.strip('[]')} of {action} is empty", hint=UNSET)
    if len(given) > len(names):
        if not names and target is not None:
            both = f"{target} {' '.join(given)}"
            raise UsageError(f"{both!r} is more than one target", hint="see `ginkgoctl -h`")
        raise UsageError(
            f"{action} takes {follows or 'no target'}, and not {' '.join(given)!r}",
            hint="see `ginkgoctl -h`",
        )
    missing = [name for name in names[len(given) :] if not name.startswith("[")]
    if missing:
        raise UsageError(
            f"{action} needs {' and '.join(missing)}",
            hint=f"for example: ginkgoctl {EXAMPLES[action]}",
        )


def _check_options(options: argparse.Namespace) -> None:
    """Insist on options that the action takes: one that is ignored may have been what matters.

    Raises:
        UsageError: it does not take one of them.
    """
    from ..core.errors import UsageError

    action = options.action
    if options.pid is not None and action in WITHOUT_TARGET:
        raise UsageError(f"{action} takes no target, and so no --pid", hint="leave it out")
    for name, actions in OPTIONS.items():
        value = vars(options)[name[2:].replace("-", "_")]
        if value == "":
            raise UsageError(f"{name} is empty", hint=UNSET)
        if value is None or value is False or action in actions:
            continue
        hint = f"it is an option of {' and '.join(actions)}"
        if name == "--service" and ACTIONS[action][1] == "[PATH]":
            hint = f"the service stands behind the action: `{_command(options, action, value)}`"
        raise UsageError(f"{action} takes no {name}", hint=hint)
    if action in ("logs", "events") and (options.lines or 0) > MOST:
        whole = f"all of its log: `{_command(options, 'log')}`"
        raise UsageError(
            f"argument -n/--lines: {options.lines} is more than the {MOST} that an instance shows",
            hint=whole if action == "logs" else f"the last {MOST}: -n {MOST}",
        )
    if options.force and options.arguments:
        raise UsageError(
            f"{action} takes no --force with the path of a service: signals are for a process",
            hint=f"the whole process: `{_command(options, action, '--force')}`",
        )


def _command(options: argparse.Namespace, *words: str) -> str:
    """A command for the same instance, that can be pasted."""
    from shlex import join

    named = [options.target] if options.pid is None else ["-p", options.pid]
    return join(["ginkgoctl", *named, *words])


EXAMPLES = {
    "set": "service.conf.py set rate 10 --for 10m",
    "log-level": "service.conf.py log-level app.db DEBUG --for 10m",
    "completion": "completion bash",
}


def _read_lasting(options: argparse.Namespace) -> None:
    """Read --for: a state to `wait` for, a time for all else."""
    from ..core.errors import UsageError

    given: str | None = vars(options)["for"]
    options.wanted, options.lasting = "ready", None
    if options.action == "wait":
        if given not in (None, "ready", "stopped"):
            raise UsageError(
                f"argument --for: there is no waiting for {given!r}", hint="ready or stopped"
            )
        options.wanted = given or "ready"
    elif given is not None:
        from .arguments import time_span

        options.lasting = time_span(given)


def _no_action(words: list[str]) -> str:
    """What to say of words among which no action is."""
    if not words:
        return "an action is missing"
    last = words[-1]
    if len(words) == 1 and ("." in last or "/" in last):  # so has every target, and no action
        return f"an action is missing: what about {last}?"
    return f"{last!r} is no action"


def addressed(options: argparse.Namespace, text: str) -> str:
    """Return a text with commands that can be pasted: TARGET is the target in use."""
    if PLACEHOLDER not in text:
        return text
    from shlex import quote

    if options.pid is not None:
        return text.replace(PLACEHOLDER, f"ginkgoctl -p {quote(options.pid)}")
    if START in text and options.target and _names_an_instance(options.target):
        target = _last_target(options.target)
        if target is None:
            return text.replace(
                f"{START} starts it",
                "`ginkgo -d TARGET` starts it, where TARGET is its configuration file",
            )
        text = text.replace(START, f"`ginkgoctl {quote(target)} start`")
    return text.replace(
        PLACEHOLDER, f"ginkgoctl {quote(options.target)}" if options.target else PLACEHOLDER
    )


PLACEHOLDER = "ginkgoctl TARGET"
"""What stands in advice for the command with the target that is meant."""


START = f"`{PLACEHOLDER} start`"


def _names_an_instance(target: str) -> bool:
    """Whether this is the name of an instance, as `ls` tells it, that no start can take."""
    return "-" in target and "/" not in target and not target.endswith(".py")


def _last_target(name: str) -> str | None:
    """Return what an instance was started with, where it has crashed and its record tells."""
    from os.path import join

    from ..control.starting import trusted
    from ..process.instances import find
    from ..process.places import is_config_file

    found = find(name)
    if found.record is None or not trusted(found):
        return None
    target = found.record.target
    return join(found.record.cwd, target) if is_config_file(target) else target


def locate(options: argparse.Namespace) -> tuple[Found, str]:
    """Find the instance that is meant, and what to call it."""
    from ..process.instances import find
    from ..process.places import instance_name

    pid: str | None = options.pid
    if pid is None:
        return find(options.target), instance_name(options.target)
    if pid.isdecimal():
        # Of more than 4300 digits int() makes no number (sys.set_int_max_str_digits).
        found, name = find(pid=int(pid[:4000])), f"pid {pid}"
    else:
        found, name = find(pidfile=pid), pid
    return found, name if found.record is None else found.record.name


if __name__ == "__main__":
    sys.exit(main())
