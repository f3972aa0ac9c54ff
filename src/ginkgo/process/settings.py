"""The settings that every daemon has, whatever it does: the seed's, and the process's own."""

from __future__ import annotations

import os

from ..config import Setting

UNDER_KUBERNETES = 5.0  # seconds of `lameduck`: until every proxy has taken the endpoint away


class ProcessSettings:
    """The built-in settings of the process. Those of the log are in :mod:`ginkgo.logs`."""

    daemon: bool = Setting(
        "daemon", default=False, help="True or False whether to daemonize", restart_required=True
    )
    group: str | int | None = Setting(
        "group",
        default=None,
        help="Change to a different group before running",
        restart_required=True,
    )
    pidfile: str | None = Setting(
        "pidfile",
        default=None,
        help="Path to pidfile to use when daemonizing",
        restart_required=True,
    )
    rundir: str | None = Setting(
        "rundir",
        default=None,
        help="Change to a directory before running",
        restart_required=True,
    )
    umask: int | str | None = Setting(
        "umask",
        default=None,
        help="Change file mode creation mask before running",
        restart_required=True,
    )
    user: str | int | None = Setting(
        "user",
        default=None,
        help="Change to a different user before running",
        restart_required=True,
    )
    backend: str = Setting(
        "backend",
        default="gevent",
        help="What the services run on: gevent, asyncio or threading; where nobody says so, "
        "asyncio if a hook is a coroutine function",
        choices=("gevent", "asyncio", "threading"),
        restart_required=True,
    )
    loop: str = Setting(
        "loop",
        default="auto",
        help="What asyncio runs on: auto is uvloop where it is installed",
        choices=("auto", "uvloop", "asyncio"),
        restart_required=True,
    )
    monkey_patch: bool = Setting(
        "monkey_patch",
        default=True,
        help="True or False whether gevent makes the standard library cooperative",
        restart_required=True,
    )
    start_timeout: float = Setting(
        "start_timeout",
        default=30.0,
        help="Seconds until a service has to be ready, unless it says otherwise",
    )
    stop_timeout: float = Setting(
        "stop_timeout",
        default=10.0,
        help="Seconds for a service's tasks and its do_stop, unless it says otherwise",
    )
    shutdown_timeout: float = Setting(
        "shutdown_timeout",
        default=25.0,
        help="Seconds until a process that was told to stop ends, whatever its services do",
    )
    lameduck: float | None = Setting(
        "lameduck",
        default=None,
        help="Seconds that a SIGTERM leaves between the end of /readyz and that of the listeners;\n"
        "part of shutdown_timeout. None is 5 under Kubernetes, and 0 elsewhere.",
    )
    blocked_after: float | None = Setting(
        "blocked_after",
        default=1.0,
        help="Seconds after which something that holds up everything else is told in the log; "
        "0 for never",
        restart_required=True,
    )

    @property
    def lame_duck_seconds(self) -> float:
        """What `lameduck` comes to here."""
        if self.lameduck is not None:
            return self.lameduck
        return UNDER_KUBERNETES if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0

    backdoor: bool = Setting(
        "backdoor",
        default=False,
        help="True or False whether `ginkgoctl shell` may come in: a Python prompt in the process",
        restart_required=True,
    )
    control: str | None = Setting(
        "control",
        default=None,
        help="Address of the page, the API and the metrics, 127.0.0.1:9100 for example; "
        "beyond this machine only with control_token",
        restart_required=True,
    )
    control_token: str | None = Setting(
        "control_token",
        default=None,
        help="What whoever comes to that address has to know",
        secret=True,
        restart_required=True,
    )
    control_actions: bool = Setting(
        "control_actions",
        default=False,
        help="True or False whether anything but reading is allowed at that address",
        restart_required=True,
    )
    control_hosts: tuple[str, ...] = Setting(
        "control_hosts",
        default=(),
        help="Further names that the address is reached by, behind a proxy for example",
        restart_required=True,
    )
    control_certfile: str | None = Setting(
        "control_certfile",
        default=None,
        help="PEM file with the certificate of that address, for TLS",
        restart_required=True,
    )
    control_keyfile: str | None = Setting(
        "control_keyfile",
        default=None,
        help="PEM file with its private key, where control_certfile has none",
        restart_required=True,
    )
