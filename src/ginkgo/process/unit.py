"""Unit files for systemd, from what a target says of itself.

Every line has its reason in the daemon: ``Type=notify-reload``, because it tells that it is ready
and SIGHUP reloads it; the exit statuses that no restart can mend; a ``TimeoutStopSec=`` above its
own last deadline. The rest takes away what it does not need.

Source: systemd.unit(5), systemd.service(5), systemd.socket(5), systemd.exec(5).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..core.errors import UsageError
from ..servers.addresses import Address
from .deployment import Deployment, Listens
from .telling import MARGIN

NOTIFY_RELOAD = 253  # the first systemd with Type=notify-reload
RESTART_STEPS = 254  # ... with RestartSteps=

HOPELESS = (2, 64, 66, 67, 77, 78)
"""Exit statuses that a restart does not mend: usage, no such target or user, permission,
configuration."""

WATCHDOG = 30  # seconds
LONGEST_PAUSE = 60  # seconds between two attempts

FOR_ALL = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM"""

FOR_THE_SYSTEM = """\
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
RemoveIPC=yes"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What kind of unit it shall be.

    Attributes:
        user: for the service manager of a user (``systemctl --user``), not the system's.
        systemd: the version of systemd that is going to read it.
    """

    user: bool = False
    systemd: int = 255


def service_unit(what: Deployment, wish: Wish) -> str:
    """Return the text of a ``.service`` file."""
    return _file(
        what,
        wish,
        "service",
        "Unit",
        _unit_section(what, wish),
        "Service",
        _service_section(what, wish),
        "Install",
        [f"WantedBy={'default' if wish.user else 'multi-user'}.target"],
    )


def socket_unit(what: Deployment, wish: Wish, listen: tuple[str, Address] | None = None) -> str:
    """Return the text of a ``.socket`` file, for servers that find their sockets by address.

    Args:
        what: the target.
        wish: what kind of unit.
        listen: for servers with a name for an address (``fd:web``): that name, and where the socket
            of that name listens; the unit is then one for this socket alone.

    Raises:
        UsageError: there is nothing that a socket unit could bind.
    """
    named = sorted({each.address.name for each in what.listens if each.address.name})
    if listen is not None:
        name, address = listen
        if name not in named:
            had = ", ".join(named) or "none"
            raise UsageError(f"--listen {name}: no server has the address fd:{name} (names: {had})")
        servers = [each for each in what.listens if each.address.name == name]
        listens = [Listens(servers[0].path, address, servers[0].datagram)]
        about = [f"FileDescriptorName={name}", f"Service={what.name}.service"]
        kind = f"-{name}.socket"
    else:
        if named:
            raise UsageError(
                f"it is not known where fd:{named[0]} listens",
                hint=f"ginkgo unit --socket --listen {named[0]}=8000 TARGET prints the unit of "
                "that socket.",
            )
        listens, about, kind = list(what.listens), [], "socket"
    if not listens:
        raise UsageError(f"{what.target} has no server whose socket systemd could bind")
    lines = [f"{_verb(each)}={_stream(each)}" for each in listens]
    lines += _options(listens, what)
    return _file(
        what,
        wish,
        kind,
        "Unit",
        [f"Description=Sockets of {what.name}"],
        "Socket",
        [*lines, *about],
        "Install",
        ["WantedBy=sockets.target"],
    )


def _file(what: Deployment, wish: Wish, kind: str, *sections: str | list[str]) -> str:
    folder = "~/.config/systemd/user" if wish.user else "/etc/systemd/system"
    dot = "" if kind.startswith("-") else "."
    lines = [f"# {folder}/{what.name}{dot}{kind}, by `ginkgo unit`: made from the settings of"]
    lines += [f"# {what.target}; make it anew when they change."]
    for section in sections:
        lines += ["", f"[{section}]"] if isinstance(section, str) else section
    return "\n".join(lines) + "\n"


def _unit_section(what: Deployment, wish: Wish) -> list[str]:
    lines = [f"Description={what.name} (Ginkgo)"]
    if not wish.user:  # a user's manager knows nothing of the network
        lines += ["Wants=network-online.target", "After=network-online.target"]
    return lines


def _service_section(what: Deployment, wish: Wish) -> list[str]:
    command = [*what.program, *what.arguments, what.target]
    lines = ["Type=notify-reload", "NotifyAccess=main", f"ExecStart={_command(command)}"]
    if wish.systemd < NOTIFY_RELOAD:
        lines[0] = "Type=notify"
        lines.append("ExecReload=/bin/kill -HUP $MAINPID")
    lines += [
        f"WorkingDirectory={_escape(what.folder)}",
        "Restart=on-failure",
        "RestartSec=1s",
    ]
    if wish.systemd >= RESTART_STEPS:
        lines += ["RestartSteps=6", f"RestartMaxDelaySec={LONGEST_PAUSE}s"]
    lines += [
        f"RestartPreventExitStatus={' '.join(map(str, HOPELESS))}",
        f"TimeoutStartSec={_seconds(2 * what.start_timeout)}",
        f"TimeoutStopSec={_seconds(what.shutdown_timeout + MARGIN)}",
        f"WatchdogSec={WATCHDOG}s",
        "KillMode=mixed",
        *([] if wish.user else _identity(what)),
        f"RuntimeDirectory={what.name}",
        "RuntimeDirectoryMode=0700",
        f"StateDirectory={what.name}",
        f"UMask={what.umask or '0027'}",
        "LimitNOFILE=65536",
        *FOR_ALL.splitlines(),
    ]
    if wish.user:
        return lines
    at_home = any(each.startswith(("/home/", "/root/", "/run/user/")) for each in _paths(what))
    lines += FOR_THE_SYSTEM.format(home="read-only" if at_home else "yes").splitlines()
    lines += [f"ReadWritePaths={_escape(each)}" for each in what.writes]
    if what.low_ports:
        lines += ["AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    return [*lines, f"CapabilityBoundingSet={'CAP_NET_BIND_SERVICE' if what.low_ports else ''}"]


def _identity(what: Deployment) -> list[str]:
    if not what.user:
        return ["DynamicUser=yes"]
    return [f"User={what.user}", *([f"Group={what.group}"] if what.group else [])]


def _paths(what: Deployment) -> list[str]:
    return [what.folder + "/", *what.program, what.target]


def _verb(server: Listens) -> str:
    return "ListenDatagram" if server.datagram else "ListenStream"


def _stream(server: Listens) -> str:
    """An address as systemd.socket(5) has it."""
    address = server.address
    if address.path:
        return _escape(address.path)
    if not address.port:
        raise UsageError(
            f"{server.path} has no port: it lets the kernel choose one, and a socket unit cannot"
        )
    if not address.host:
        return str(address.port)
    host = {"localhost": "127.0.0.1"}.get(address.host, address.host)
    if ":" not in host and not re.fullmatch(r"[\d.]+", host):
        raise UsageError(
            f"{server.path} listens on {address}: systemd wants an IP address, and no name"
        )
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _options(listens: list[Listens], what: Deployment) -> list[str]:
    lines = []
    if any(not each.address.path and not each.address.host for each in listens):
        lines.append("BindIPv6Only=both")
    elif any(":" in each.address.host for each in listens):
        lines.append("BindIPv6Only=ipv6-only")
    if any(each.address.path for each in listens):
        lines.append("SocketMode=0600")
        if what.user:
            lines.append(f"SocketUser={what.user}")
    if any(not each.address.path and not each.datagram for each in listens):
        lines.append("NoDelay=yes")
    return lines


def _seconds(seconds: float) -> str:
    return f"{math.ceil(seconds)}s"


def _command(words: list[str]) -> str:
    """A command line as ExecStart= has it: systemd.service(5), "Command lines"."""
    return " ".join(_word(each) for each in words)


def _word(word: str) -> str:
    escaped = _escape(word).replace("$", "$$")
    if not re.search(r"[\s\"'\\;]", word) and word:
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(text: str) -> str:
    if "\n" in text:
        raise UsageError(f"{text!r} has a newline: a unit file cannot have that")
    return text.replace("%", "%%")
