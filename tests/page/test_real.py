"""The page of a real instance: what it shows is what the API says, and what it does is done."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.workshop import Program, Workshop, eventually, free_port

Open = Callable[..., Page]

SECRET = "canary-0123456789abcdef"

APP = """
    import logging
    import os

    from ginkgo import Service, Setting
    from ginkgo.async_.gevent import WSGIServer

    class Feed(Service):
        rate = Setting("feed.rate", default=5, help="Messages a second.", monitored=True)
        password = Setting("feed.password", default="none", secret=True)

        def do_start(self):
            self.look()
            self.every(0.05, self.look)

        def look(self):
            if os.path.exists("broken"):
                raise ConnectionError(f"<b>the relay is gone</b>, {self.password}")

    class App(Service):
        max_restarts = 10_000
        backoff = (0.05, 2, 0.2)

        def __init__(self):
            self.add_service(Feed())
            self.add_service(WSGIServer(("127.0.0.1", 0), self.hello))

        def hello(self, environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"hello"]
"""

CONFIG = """
    from app import App as service

    control = "127.0.0.1:{port}"
    control_actions = True

    class feed:
        rate = 7
        password = "{secret}"

    {more}
"""


class Instance:
    """A process, and where its page is."""

    def __init__(self, shop: Workshop, more: str = "") -> None:
        port = free_port()
        shop.write("app.py", APP)
        shop.write("app.conf.py", CONFIG.format(port=port, secret=SECRET, more=more))
        self.shop = shop
        self.url = f"http://127.0.0.1:{port}/"
        self.broken = shop.folder / "broken"
        self.program = self.begin()

    def begin(self) -> Program:
        program = self.shop.begin("ginkgo", "app.conf.py")
        program.wait_for("The control address is ")
        eventually(self.is_ready)
        return program

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}readyz", timeout=10):
                return True
        except urllib.error.HTTPError as answer:
            answer.close()
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def states(self) -> dict[str, str]:
        """The services and their states, as the API tells them."""
        root = self.get("tree")
        return {each["path"]: each["state"] for each in (root, *root["children"])}


def shown(page: Page) -> dict[str, str]:
    """The same, as the page shows them."""
    script = """rows => Object.fromEntries(rows.map(row =>
        [row.dataset.key, row.querySelector(".state").textContent]))"""
    found: dict[str, str] = page.locator("[role=treeitem]").evaluate_all(script)
    return found


@pytest.fixture
def instance(shop: Workshop) -> Instance:
    return Instance(shop)


def test_what_fails_and_recovers_is_shown_as_the_api_tells_it(
    instance: Instance, window: Open
) -> None:
    page = window(instance.url)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("All 3 services are ready")
    assert shown(page) == instance.states()

    instance.broken.touch()
    expect(heading).to_have_text("Degraded: 1 of 3 services has failed.")
    wrong = page.get_by_role("list", name="What to know")
    expect(wrong).to_contain_text("<b>the relay is gone</b>")
    expect(page.locator(".events")).to_contain_text("backoff of")
    wrong.get_by_role("link", name="App/Feed").click()
    expect(page.locator("pre")).to_contain_text("ConnectionError: <b>the relay is gone</b>")
    page.get_by_role("link", name="Its log").click()
    expect(page.get_by_role("log")).to_contain_text("App/Feed: start failed")

    instance.broken.unlink()
    page.get_by_role("link", name="Overview").click()
    expect(heading).to_contain_text("All 3 services are ready")
    eventually(lambda: shown(page) == instance.states())
    assert page.locator("main b:not(.value)").count() == 0
    assert instance.program.stops() == 0


def test_what_is_confirmed_is_done_and_written_to_the_log(instance: Instance, window: Open) -> None:
    page = window(f"{instance.url}#/service/App/Feed")
    before = len(instance.get("events?path=App/Feed")["events"])
    page.get_by_role("button", name="Restart …").click()
    page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    expect(page.get_by_text("App/Feed is restarted.")).to_be_visible()
    assert len(instance.get("events?path=App/Feed")["events"]) > before
    instance.program.wait_for("restart")

    page.get_by_role("button", name="Set feed.rate for now …").click()
    page.get_by_role("dialog").get_by_label("Value").fill("many")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("feed.rate was not set")
    page.get_by_role("dialog").get_by_label("Value").fill("40")
    page.keyboard.press("Enter")
    expect(page.get_by_text("feed.rate is set.")).to_be_visible()
    told = {each["name"]: each for each in instance.get("settings")["settings"]}["feed.rate"]
    assert told["value"] == 40
    expect(page.locator('[data-key="feed.rate"]')).to_contain_text(told["origin"])
    instance.program.wait_for("feed.rate is 40")

    config = instance.shop.folder / "app.conf.py"
    config.write_text(config.read_text().replace("rate = 7", "rate = 8"))
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name="Reload …").click()
    page.get_by_role("dialog").get_by_role("button", name="Reload").click()
    expect(
        page.get_by_text("Reloaded; feed.rate: 7 → 8, when what is set for now is over.")
    ).to_be_visible()
    expect(page.locator(".facts")).to_contain_text(
        "nothing changed, 1 new value covered by what is set for now"
    )
    page.get_by_role("link", name="Settings").click()
    expect(page.locator('[data-key="feed.rate"]')).to_contain_text(
        re.compile(r"8, from app\.conf\.py:\d+, is covered by what is set for now")
    )
    page.get_by_role("link", name="Overview").click()
    expect(
        page.get_by_text(re.compile("The setting feed.rate is set to 40 for 9 min"))
    ).to_be_visible()
    done = page.locator(".events").get_by_text(
        re.compile("the setting feed.rate is 40 until .* by 127")
    )
    expect(done).to_be_visible()
    page.get_by_role("button", name="Stop …").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop everything").click()
    assert instance.program.ends() == 0
    expect(page.get_by_role("alert")).to_contain_text(re.compile("No answer|answers no more"))


def test_the_page_finds_the_instance_again_that_was_started_anew(
    instance: Instance, window: Open
) -> None:
    page = window(instance.url)
    expect(page.get_by_role("treeitem")).to_have_count(3)
    assert instance.program.stops() == 0
    expect(page.get_by_role("alert")).to_be_visible()
    program = instance.begin()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_text("the process is a new one")).to_be_visible()
    eventually(lambda: shown(page) == instance.states())
    instance.broken.touch()
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 of 3 services has failed")
    assert program.stops() == 0


@pytest.mark.fault(117)
def test_no_secret_is_on_any_view_and_a_command_tells_the_same(
    instance: Instance, window: Open
) -> None:
    instance.broken.touch()  # its error's text holds the secret
    page = window(instance.url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 of 3 services has failed")
    for view, command in (
        ("#/", "status"),
        ("#/events", "events -f"),
        ("#/logs?service=App/Feed&level=ERROR", "logs -f --service App/Feed --level ERROR"),
        ("#/settings", "settings"),
        ("#/service/App/Feed", "events --service App/Feed"),
    ):
        page.goto(instance.url + view)
        expect(page.locator("#command")).to_have_text(f"ginkgoctl app.conf.py {command}")
        told = instance.shop.ctl("app.conf.py", *command.replace(" -f", "").split())
        assert "eed" in told.stdout, told
        expect(page.locator("main")).to_contain_text("eed")
        assert SECRET not in page.content() + told.stdout, view
    assert instance.program.stops() == 0


def test_a_token_lets_read_and_act_until_the_process_ends(shop: Workshop, window: Open) -> None:
    token = "a-token-of-this-test"
    instance = Instance(shop, f'control_token = "{token}"')
    page = window(f"{instance.url}#token={token}")
    expect(page.get_by_role("treeitem")).to_have_count(3)
    assert token not in page.url
    page.get_by_role("button", name="Reload …").click()
    page.get_by_role("dialog").get_by_role("button", name="Reload").click()
    expect(page.get_by_text("Reloaded; nothing has changed.")).to_be_visible()

    assert instance.program.stops() == 0
    program = instance.begin()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("All 3 services are ready")
    assert program.stops() == 0
