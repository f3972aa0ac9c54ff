"""A Dockerfile, from what a target says of itself.

The daemon is the container's first process, in the form of a list, so that signals reach it; its
log goes to stderr as JSON; it runs as a user of its own, with one folder that has to be writable,
so that the rest may be read-only.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator

from ..servers.addresses import Address
from .deployment import Deployment
from .places import is_config_file

UID = 10001
HOME = "/app"
RUN = "/run/app"


def dockerfile(what: Deployment, version: str) -> str:
    """Return the text of a Dockerfile, to stand in the folder that the target is started from.

    Args:
        what: the target.
        version: Ginkgo's, for an application that says nothing about what it needs.
    """
    target = _target(what)
    command = ["ginkgo", *what.arguments, target]
    probe = ["ginkgoctl", target, "status", "--quiet"]
    python = ".".join(map(str, sys.version_info[:2]))
    patience = math.ceil(what.shutdown_timeout) + 5
    ports = {
        (each.address.port, "udp" if each.datagram else "tcp")
        for each in what.listens
        if each.address.port
    }
    control = _address(what.control)
    if control is not None and control.port and not control.is_loopback:
        ports.add((control.port, "tcp"))
    lines = [
        "# By `ginkgo dockerfile`: made from the settings of the target; make it anew when they",
        "# change. It has to be given the time that it needs to stop, and can do without a",
        "# writable disk:",
        f"#   docker run --stop-timeout {patience} --read-only \\",
        f"#     --tmpfs {RUN}:uid={UID},mode=0700 IMAGE",
        f"FROM python:{python}-slim",
        f"RUN useradd --system --uid {UID} --home-dir {HOME} app \\",
        f" && install --directory --mode=0700 --owner={UID} {RUN}",
        f"WORKDIR {HOME}",
        *_installation(what.folder, version),
        f"ENV XDG_RUNTIME_DIR={RUN} GINKGO_LOGFORMAT=json PYTHONDONTWRITEBYTECODE=1",
        f"USER {UID}",
        *(f"EXPOSE {port}/{protocol}" for port, protocol in sorted(ports)),
        "STOPSIGNAL SIGTERM",
        f"HEALTHCHECK --start-period={math.ceil(2 * what.start_timeout)}s --interval=10s "
        f"--timeout=5s CMD {json.dumps(probe)}",
        f"ENTRYPOINT {json.dumps(command)}",
    ]
    return "\n".join(lines) + "\n"


def unreachable(what: Deployment) -> list[str]:
    """What nobody outside the container can reach, each in words."""
    servers = [
        f"{each.path} listens on {each.address}: nobody outside the container reaches it there"
        for each in what.listens
        if each.address.is_loopback and not each.address.path
    ]
    return [*servers, *_control(what.control)]


def _address(control: str) -> Address | None:
    return Address.parse(control) if control else None


def _control(given: str) -> Iterator[str]:
    address = _address(given)
    if address is not None and address.is_loopback:
        yield (
            f"control is {given}: nobody outside the container reaches its page, /metrics and "
            f'the probes there. Set control = "0.0.0.0:{address.port}" and a control_token, or ask '
            "by `docker exec`"
        )


def _target(what: Deployment) -> str:
    if not is_config_file(what.target):
        return what.target
    inside = os.path.relpath(what.target, what.folder)
    return os.path.basename(what.target) if inside.startswith("..") else inside


def _installation(folder: str, version: str) -> list[str]:
    ours = f'RUN pip install --no-cache-dir "ginkgo[json]=={version}"'
    if os.path.exists(os.path.join(folder, "requirements.txt")):
        return [
            "COPY requirements.txt .",
            f"{ours} -r requirements.txt",
            "COPY . .",
        ]
    if os.path.exists(os.path.join(folder, "pyproject.toml")):
        return ["COPY . .", f"{ours} ."]
    return [ours, "COPY . ."]
