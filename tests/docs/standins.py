"""Small stand-ins for the tools that the manual's console blocks call and a machine may not have.

They do what the manual uses of them and no more, and are always used, so that a block has the same
outcome on every machine: ``nc``, ``curl``, ``logrotate``, ``openssl``, ``pip``,
``sudo``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import select
import socket
import ssl
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import trustme

ROOT = Path(__file__).resolve().parents[2]


def nc(arguments: list[str]) -> int:
    """``nc [-N] HOST PORT``, ``nc [-N] -U PATH``, ``nc -u -w1 HOST PORT``."""
    flags = {word for word in arguments if word.startswith("-")}
    words = [word for word in arguments if not word.startswith("-")]
    unknown = flags - {"-N", "-U", "-u", "-w1"}
    if unknown:
        raise SystemExit(f"nc: what is {unknown}?")
    if "-u" in flags:
        return _nc_datagram(words[0], int(words[1]))
    if "-U" in flags:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(words[0])
    else:
        connection = socket.create_connection((words[0], int(words[1])))
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # `echo ... | nc`
        connection.sendall(sys.stdin.buffer.read())
        if "-N" in flags:
            connection.shutdown(socket.SHUT_WR)
    while data := connection.recv(4096):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return 0


def _nc_datagram(host: str, port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((host, port))
        connection.send(sys.stdin.buffer.read())
        if select.select([connection], [], [], 10)[0]:
            sys.stdout.buffer.write(connection.recv(65536))
    return 0


def curl(arguments: list[str]) -> int:
    """``curl [-i] [-s] [-N] [--unix-socket PATH] [-H NAME:VALUE] [-d BODY] URL``: the body.

    With -i what comes before it, too.
    """
    parser = argparse.ArgumentParser("curl")
    parser.add_argument("--unix-socket")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="body")
    for flag in ("-i", "-s", "-N"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("url")
    words = parser.parse_args(arguments)
    url = urlsplit(words.url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=10)
    if words.unix_socket is not None:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(words.unix_socket)
    headers = dict(line.split(": ", 1) for line in words.headers)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection.request("GET" if words.body is None else "POST", target, words.body, headers)
    response = connection.getresponse()
    if words.i:
        print(f"HTTP/1.1 {response.status} {response.reason}")
        for name, value in response.getheaders():
            print(f"{name}: {value}")
        print(flush=True)
    while data := response.read1(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return 0


def logrotate(arguments: list[str]) -> int:
    """``logrotate --force FILE``: rename each log that exists, and run its postrotate script."""
    text = Path(next(word for word in arguments if not word.startswith("-"))).read_text()
    for log, body in re.findall(r"^(/\S+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        os.rename(log, f"{log}.1")
        if script := re.search(r"postrotate\n(.*?)endscript", body, re.DOTALL):
            subprocess.run(["sh", "-c", script.group(1)], check=True)
    return 0


def pip(arguments: list[str]) -> int:
    """``pip install [-e] REQUIREMENT``: look up that the project and its extras exist."""
    command, *words = arguments
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    others = {re.split(r"\W", each)[0] for each in content["dependency-groups"]["test"]}
    if command != "install":
        raise SystemExit(f"pip: what is {command}?")
    for word in words:
        if word == "-e":
            continue
        name, extras = re.fullmatch(r"([\w.-]+?)(?:\[([\w,]+)\])?", word).groups()  # type: ignore[union-attr]
        if name not in {".", project["name"], *others}:
            raise SystemExit(f"pip: no project {name}")
        for extra in (extras or "").split(","):
            if extra and extra not in project["optional-dependencies"]:
                raise SystemExit(f"pip: {name} has no extra {extra}")
    return 0


def openssl(arguments: list[str]) -> int:
    """``openssl req -x509 ... -keyout FILE -out FILE``, ``openssl s_client -connect HOST:PORT``."""
    command, *words = arguments
    if command == "req":
        made = trustme.CA().issue_cert("localhost")
        made.private_key_pem.write_to_path(words[words.index("-keyout") + 1])
        made.cert_chain_pems[0].write_to_path(words[words.index("-out") + 1])
        return 0
    host, port = words[words.index("-connect") + 1].split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((host, int(port)))
    with context.wrap_socket(plain) as connection:
        connection.sendall(sys.stdin.buffer.read())
        sys.stdout.buffer.write(connection.recv(65536))
    return 0


def sudo(arguments: list[str]) -> int:
    """``sudo COMMAND``: for tests that are run by root."""
    os.execvp(arguments[0], arguments)


TOOLS = {tool.__name__: tool for tool in (nc, curl, logrotate, openssl, pip, sudo)}


def install(folder: Path) -> None:
    """Put the stand-ins into `folder`, as commands."""
    folder.mkdir()
    for name in TOOLS:
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        command.chmod(0o755)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(TOOLS[sys.argv[1]](sys.argv[2:]))
