"""No secret is in what a command prints, whoever has put it into an error's text."""

from __future__ import annotations

import pytest
from tests.workshop import Workshop

SOURCE = """
import os
from ginkgo import Service, Setting

class Secretive(Service):
    key: str = Setting("api_key", secret=True, default="CANARY-key-5")
    pin: int = Setting("db.pin", secret=True, default=4242424242)

    def tell(self):
        environ = os.environ["MY_SECRET_TOKEN"], os.environ["DB_DSN"]
        raise RuntimeError(f"cannot use {self.key} {self.pin} {environ}")

class Starts(Secretive):
    def do_start(self):
        self.tell()

class Works(Secretive):
    def do_start(self):
        print("up", flush=True)
        self.spawn_later(0.05, self.tell)

class Reloads(Secretive):
    def do_start(self):
        print("up", flush=True)

    def do_reload(self):
        self.tell()
"""

ENVIRON = {"MY_SECRET_TOKEN": "CANARY-env-6", "DB_DSN": "postgres://u:CANARYpw@h/x"}


def told(text: str) -> bool:
    """Whether a secret is in it."""
    return "CANARY" in text or "4242424242" in text


@pytest.mark.fault(117)
@pytest.mark.parametrize("words", [["app.Starts"], ["-d", "app.Starts"], ["app.Works"]])
def test_what_ends_a_process_is_told_without_secrets(shop: Workshop, words: list[str]) -> None:
    shop.write("app.py", SOURCE)
    result = shop.ginkgo(*words, env=ENVIRON)
    assert result.returncode == 70
    assert "cannot use **** ****" in result.stderr
    assert not told(result.stdout + result.stderr)


@pytest.mark.fault(117)
def test_what_a_reload_answers_has_no_secrets(shop: Workshop) -> None:
    shop.write("app.py", SOURCE)
    program = shop.begin("ginkgo", "app.Reloads", env=ENVIRON)
    program.wait_for("^up$")
    for words in ([], ["--json"]):
        result = shop.ctl("app.Reloads", "reload", *words)
        assert result.returncode == 70
        assert "cannot use **** ****" in result.stderr
        assert not told(result.stdout + result.stderr)
    assert program.stops() == 0
    assert not told(program.output)
