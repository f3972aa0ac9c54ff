from __future__ import annotations

import subprocess
import sys

import pytest


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["addresses", "listen", "ports", "retry", "tls"])
def test_what_the_backends_share_knows_none_of_them(module: str):
    assert not imported_by(f"ginkgo.servers.{module}") & {"gevent", "asyncio", "ssl"}


@pytest.mark.parametrize("module", ["stream", "client", "datagram"])
def test_a_server_of_streams_costs_nothing_of_the_web_and_of_tls(module: str):
    costly = {"gevent.pywsgi", "gevent.ssl", "ssl", "http.client", "email", "asyncio", "code"}
    assert not imported_by(f"ginkgo.servers.{module}") & costly
