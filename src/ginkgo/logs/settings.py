"""The settings that logging reads: 0.6's logconfig, logfile and loglevel, and logformat."""

from __future__ import annotations

from typing import Any

from ginkgo.config import Setting


class LogSettings:
    """What the class that `log_settings` returns has; `setup.configure` takes the values."""

    logconfig: str | dict[str, Any] | None
    logfile: str
    loglevel: str | int | dict[str, str | int]
    logformat: str


def default_logfile(name: str) -> str:
    """Return where a daemon logs by default: 0.6's `/tmp/NAME.log`.

    Args:
        name: of the root service.
    """
    # /tmp is everybody's: see `opening` for what is done about that.
    return f"/tmp/{name.replace('/', '-')}.log"  # noqa: S108


def log_settings(name: str, logfile: str | None = None) -> type[LogSettings]:
    """Declare the settings, for a process whose root service has that name.

    They are declared for as long as the class that is returned is kept.

    Args:
        name: of the root service; the default of `logfile` has it, and `-h` shows that default.
        logfile: that default, where it is another one.
    """

    usual = default_logfile(name) if logfile is None else logfile

    class Declared(LogSettings):
        logconfig: str | dict[str, Any] | None = Setting(
            "logconfig",
            default=None,
            help="Configuration of standard Python logger. Can be dict for basicConfig,\n"
            "dict with version key for dictConfig, or ini filepath for fileConfig.",
        )
        logfile: str = Setting(
            "logfile",
            default=usual,
            help="Path to primary log file. Ignored if logconfig is set.",
        )
        loglevel: str | int | dict[str, str | int] = Setting(
            "loglevel",
            default="debug",
            help="Log level to use. Valid options: debug, info, warning, critical\n"
            "Ignored if logconfig is set.",
        )
        logformat: str = Setting(
            "logformat",
            default="text",
            help="What a log line is: text, or json for those who collect logs by machine\n"
            '(pip install "ginkgo[json]"). Ignored if logconfig is set.',
            choices=("text", "json"),
        )

    return Declared
