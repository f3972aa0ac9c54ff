"""A real Chromium, one for all tests of a module, and a window of its own for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.page.fake import Address, Fake

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
OPTIONS = [
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 10_000  # milliseconds

expect.set_options(timeout=PATIENCE)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def address(fake: Fake) -> Iterator[Address]:
    address = Address(fake)
    yield address
    address.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Open]:
    """Open windows; afterwards nothing of them is left, and no script had an error."""
    contexts = []
    errors: list[str] = []

    def open_window(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda told: refused_by_policy(told.text, errors))
        page.goto(url)
        page.wait_for_selector("h1")
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert errors == []


def refused_by_policy(text: str, errors: list[str]) -> None:
    if "Content Security Policy" in text:
        errors.append(text)


@pytest.fixture
def page(window: Open, address: Address) -> Page:
    """The overview of the fake."""
    return window(address.url)
