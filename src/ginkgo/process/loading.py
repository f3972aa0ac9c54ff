"""From what was asked for to what can be run: the configuration, and the factory it names.

The configuration comes first, because it names the service; it can be checked only when the
service's module is imported, because that declares the settings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..config import Snapshot, service_of, settings
from ..config.hidden import secret_values
from ..core.context import context
from ..core.errors import GinkgoError
from ..core.service import Service
from ..logs import hiding
from ..logs import setup as logs
from ..logs.settings import LogSettings, default_logfile, log_settings
from . import validation
from .choosing import Choice
from .instances import last_logfile
from .options import Options
from .places import all_folders, candidates, instance_name, is_config_file
from .settings import ProcessSettings
from .target import (
    add_import_paths,
    check_exists,
    load_name,
    service_factory,
)

logger = logging.getLogger(__name__)


@dataclass
class Loaded:
    """A target that can be run.

    Attributes:
        factory: makes the root service.
        label: what the factory is called in messages.
        process: the process's settings.
        log: the log's settings.
        warnings: what is probably a mistake in the configuration.
    """

    factory: Callable[[], Service]
    label: str
    process: ProcessSettings
    log: LogSettings
    warnings: tuple[str, ...] = ()


def load(options: Options, choice: Choice, *, strict: bool = False, check: bool = True) -> Loaded:
    """Load the configuration, import the target, and check the one against the other.

    Args:
        options: what the command line says.
        choice: the backend that this process is prepared for.
        strict: a name that is nearly a setting's is an error.
        check: False leaves wrong values alone: they are told when they are read.

    Raises:
        ConfigError: with all that is wrong, each with file and line.
        NoSuchUser, PermissionDenied: that alone is wrong: there is no such user, or no way to it.
        TargetNotFound: there is no such file, module or name.
        ApplicationFailed: importing the target raised.
    """
    process = ProcessSettings()
    settings.load_options(options.assignments)
    if options.backend is not None:
        settings.load_options((f"backend={options.backend}",), origin="--backend")
    if is_config_file(options.target):
        path = os.path.abspath(options.target)
        check_exists(options.target)
        add_import_paths(os.getcwd(), os.path.dirname(path))
        settings.load_file(path, check=False)
        factory, label = service_factory(service_of(settings), settings.origin("service"))
    else:
        add_import_paths(os.getcwd())
        factory, label = load_name(options.target), options.target
    log = log_settings(label.rpartition(".")[2], _logfile(options.target, label))()
    if check:
        validation.check_start(
            process, log, options.target, choice, daemon=options.daemon, strict=strict
        )
        _apply_timeouts(process)
    context.backend = process.backend
    context.loop = process.loop
    hiding.learn(secret_values(settings.snapshot, os.environ))
    return Loaded(factory, label, process, log, settings.warnings)


def configure(
    loaded: Loaded, daemon: bool, change: Callable[[], Snapshot] | None = None
) -> dict[str, Any]:
    """The first half of a reload: new settings and new logging, both or neither.

    Args:
        loaded: what runs.
        daemon: whether it is one.
        change: what changes the settings, and returns those before; None for the files being read
            again.

    Returns:
        What to report: the changed settings, those that need a restart, and those that take
        their new value when a `ginkgoctl set` ends.

    Raises:
        ConfigError: what is wrong; nothing has changed.
    """
    before = settings.apply(settings.prepare()) if change is None else change()
    try:
        log = loaded.log
        validation.check_reload(loaded.process, log)
        if change is None:
            validation.check_below(loaded.process, log, daemon=daemon)
        new_logs = logs.prepare(
            log.logconfig, log.logfile, log.loglevel, daemon=daemon, logformat=log.logformat
        )
    except GinkgoError as error:
        told = validation.placed(error)  # while what it blames is still to be found
        settings.restore(before)
        raise told from error
    except BaseException:  # raised again: nothing may leave half of a configuration
        settings.restore(before)
        raise
    new_logs.apply()
    _apply_timeouts(loaded.process)
    hiding.learn(secret_values(settings.snapshot, os.environ))
    report = settings.report(before)
    for warning in report.warnings:
        logger.warning("%s", warning)
    return {
        "changed": [_change(each.as_dict()) for each in report.changed],
        "needs_restart": [_change(each.as_dict()) for each in report.needs_restart],
        "covered": [_change(each.as_dict()) for each in report.covered],
    }


def _change(change: dict[str, str]) -> dict[str, str]:
    return {"name": change.pop("path"), **change}


def _logfile(target: str, label: str) -> str:
    """Where a daemon logs by default: 0.6's /tmp/CLASS.log, unless that is another instance's.

    Two targets may have classes of one name, and one file would hold what both say. What an
    instance logged to is known after its end too, so that each keeps its own.
    """
    usual = default_logfile(label.rpartition(".")[2])
    name = instance_name(target)
    own = candidates(name)
    others = (folder for folder in all_folders() if folder not in own)
    taken = any(last_logfile(folder) == usual for folder in others)
    return default_logfile(name) if taken else usual


def _apply_timeouts(process: ProcessSettings) -> None:
    context.start_timeout = process.start_timeout
    context.stop_timeout = process.stop_timeout
