"""What the page lets its reader do, how it bears a lost connection, and who can use it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.page.fake import PAGE, Address, Fake

Open = Callable[..., Page]

VIEWS = ("#/", "#/events", "#/logs", "#/settings", "#/service/Shop/Database/Pool")


def troubled(fake: Fake) -> None:
    """Have everything on the page that can be there."""
    fake.actions = True
    fake.become("Shop/Database/Pool", "failed", "do_start failed: OSError: no route to host")
    fake.become("Shop/Mailer/Queue", "starting", "its do_start is not done")
    fake.become("Shop/Clock", "stopped")
    fake.failures["Shop/Database/Pool"] = {
        "chain": [
            {"path": "Shop/Database", "phase": "do_start", "error": "OSError", "message": "no"}
        ],
        "traceback": 'File "shop.py", line 12, in do_start',
    }
    fake.more["last_reload"] = {"outcome": "refused", "refused": ["shop.conf.py:3: wrong"]}
    fake.settings[0]["until"] = "2030-01-01T00:00:00Z"
    for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        fake.log(f"it is said as {level}", level)


# -- actions


def test_nothing_can_be_done_unless_actions_are_allowed(page: Page, address: Address) -> None:
    for view in VIEWS:
        page.goto(address.url + view)
        page.wait_for_selector("h1")
        assert page.locator(".act").count() == 0
    expect(page.get_by_text("read only")).to_be_visible()


def test_an_action_says_what_will_happen_and_is_done_when_it_is_confirmed(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.actions = True
    page = window(f"{address.url}#/service/Shop/Database")
    button = page.get_by_role("button", name="Restart …")
    button.click()
    dialog = page.get_by_role("dialog", name="Restart Shop/Database?")
    expect(dialog).to_contain_text("Stops Shop/Database and 1 service below it, and starts them")
    expect(dialog).to_contain_text("ginkgoctl shop.conf.py restart Shop/Database")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()

    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    button.click()
    dialog.get_by_role("button", name="Cancel").click()
    assert fake.asked == []

    button.click()
    dialog.get_by_role("button", name="Restart").click()
    expect(page.get_by_text("Shop/Database is restarted.")).to_be_visible()
    assert fake.asked == [("restart", {"path": "Shop/Database"})]


def test_every_action_asks_for_what_the_api_takes(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.actions = True
    page = window(address.url)

    def confirm(button: str, verb: str, said: str) -> None:
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name=verb, exact=True).click()
        expect(page.get_by_text(said)).to_be_visible()

    confirm("Reload …", "Reload", "Reloaded; nothing has changed.")
    confirm("Collect garbage …", "Collect", "7 objects collected.")
    confirm("Stop …", "Stop everything", "It is asked to stop.")
    page.goto(f"{address.url}#/service/Shop/Clock")
    expect(page.get_by_role("heading", level=1)).to_have_text("Clock")
    confirm("Reload …", "Reload", "Shop/Clock is reloaded.")
    confirm("Stop …", "Stop", "Shop/Clock is asked to stop.")
    assert fake.asked == [
        ("reload", {}),
        ("gc", {}),
        ("stop", {}),
        ("reload", {"path": "Shop/Clock"}),
        ("stop", {"path": "Shop/Clock"}),
    ]


def test_a_setting_and_a_level_are_set_for_a_time(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.actions = True
    page = window(f"{address.url}#/settings")
    expect(page.get_by_role("button", name="for now")).to_have_count(1)  # no secret, no restart
    page.get_by_role("button", name="Set shop.rate for now …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It is 20 now, from shop.conf.py:12.")
    dialog.get_by_label("Value").fill("40")
    page.keyboard.press("Enter")
    expect(page.get_by_text("shop.rate is set.")).to_be_visible()

    page.get_by_role("link", name="Logs").click()
    page.get_by_role("button", name="Level of a logger …").click()
    dialog.get_by_label("Logger").fill("shop.db")
    dialog.get_by_label("For").select_option("until it is stopped")
    dialog.get_by_role("button", name="Set").click()
    expect(page.get_by_text("The level is set.")).to_be_visible()
    assert fake.asked == [
        ("set", {"name": "shop.rate", "value": "40", "for": 600}),
        ("log-level", {"logger": "shop.db", "level": "DEBUG", "for": None}),
    ]


def test_an_action_that_is_refused_says_why(window: Open, address: Address, fake: Fake) -> None:
    fake.actions = True
    fake.refuse = {"what": "The reload was refused", "why": "x.py:3: no", "do": "Mend it."}
    page = window(address.url)
    page.get_by_role("button", name="Reload …").click()
    page.get_by_role("dialog").get_by_role("button", name="Reload").click()
    said = page.get_by_text("The reload was refused: x.py:3: no. Mend it.")
    expect(said).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    expect(said).to_have_count(0)


def test_what_was_typed_stays_until_it_is_taken(window: Open, address: Address, fake: Fake) -> None:
    fake.actions = True
    fake.refuse = {
        "what": "shop.rate was not set",
        "why": "it has to be int, and is 'lots'",
        "do": "`ginkgoctl TARGET settings` shows what there is.",
    }
    page = window(f"{address.url}#/settings")
    page.get_by_role("button", name="Set shop.rate for now …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Value").fill("lots")
    dialog.get_by_label("For").select_option("1 hour")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog.get_by_role("alert")).to_have_text(
        "shop.rate was not set: it has to be int, and is 'lots'. "
        "`ginkgoctl shop.conf.py settings` shows what there is."
    )
    expect(dialog.get_by_label("Value")).to_have_value("lots")
    expect(dialog.get_by_label("Value")).to_be_focused()
    expect(dialog.get_by_label("For")).to_have_value("3600")
    look_for_violations(page, "a dialog with an error")

    fake.refuse = None
    dialog.get_by_label("Value").fill("40")
    page.keyboard.press("Enter")
    expect(page.get_by_text("shop.rate is set.")).to_be_visible()
    expect(dialog).to_have_count(0)
    assert [body["value"] for _, body in fake.asked] == ["lots", "40"]


def test_a_dialog_is_left_after_an_error_too(window: Open, address: Address, fake: Fake) -> None:
    fake.actions = True
    fake.refuse = {"what": "No", "why": "it is a test", "do": "Leave it."}
    page = window(f"{address.url}#/logs")
    page.get_by_role("button", name="Level of a logger …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Logger").fill("nope")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("No: it is a test. Leave it.")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Level of a logger …").click()
    expect(dialog.locator(".wrong")).to_be_empty()


# -- the connection


def test_a_lost_connection_is_said_and_a_regained_one_healed(
    window: Open, address: Address, fake: Fake
) -> None:
    page = window(address.url)
    expect(page.get_by_role("treeitem")).to_have_count(8)
    fake.log("before")
    address.close()
    lost = page.get_by_role("alert")
    expect(lost).to_contain_text("No answer. What is shown is from")
    expect(page.get_by_role("treeitem")).to_have_count(8)  # what was known stays

    fake.pid += 1  # it was started anew, and its events count from one again
    fake.events.clear()
    fake.event("Shop/Mailer", "state", "ready")
    fake.become("Shop/Mailer", "failed", "the relay is gone")
    again = Address(fake, address.server_port)
    try:
        expect(lost).to_be_hidden()
        expect(
            page.get_by_text("The connection is back; the process is a new one.")
        ).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_contain_text("1 of 8 services has failed")
        expect(page.locator(".events li")).to_have_count(2)
        fake.become("Shop/Mailer", "ready")  # and what happens now is seen at once again
        expect(page.locator(".events li")).to_have_count(3)
    finally:
        again.close()


def test_a_page_in_a_hidden_tab_asks_for_nothing(
    window: Open, address: Address, fake: Fake
) -> None:
    page = window(f"{address.url}#/logs")
    expect(page.get_by_text("No line matches yet.")).to_be_visible()
    page.clock.install()  # the hour below takes no time
    asked: list[str] = []
    become = """hidden => {
        Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(become, True)
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(3_600_000)
    assert asked == []
    fake.become("Shop/Mailer", "failed", "the relay is gone")
    fake.log("meanwhile")
    page.evaluate(become, False)
    expect(page.locator("#pill")).to_have_text("degraded")
    page.clock.run_for(1000)
    expect(page.get_by_role("log")).to_contain_text("meanwhile")


def test_the_log_goes_on_after_a_lost_connection(
    window: Open, address: Address, fake: Fake
) -> None:
    page = window(f"{address.url}#/logs")
    log = page.get_by_role("log")
    fake.log("before")
    expect(log).to_contain_text("before")
    address.close()
    expect(page.get_by_role("alert")).to_be_visible()
    fake.log("meanwhile")
    again = Address(fake, address.server_port)
    try:
        expect(log).to_contain_text("meanwhile")
        fake.log("after")
        expect(log.locator("p").last).to_contain_text("after")
        expect(log.locator("p")).to_have_count(3)
    finally:
        again.close()


def test_a_token_is_asked_for_and_kept_by_no_script(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.token = "let-me-in-please"
    page = window(address.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Wrong token: It is another.")).to_be_visible()
    page.get_by_label("Token").fill(fake.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("All 8 services are ready")
    kept = "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
    assert fake.token not in page.evaluate(kept)

    link = window(f"{address.url}#token={fake.token}")
    expect(link.get_by_role("heading", level=1)).to_contain_text("All 8 services are ready")
    assert link.url == f"{address.url}#/"


# -- for everybody


@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
def test_no_rule_of_accessibility_is_broken_and_nothing_is_cut_off(
    window: Open, address: Address, fake: Fake, width: int, scheme: str
) -> None:
    troubled(fake)
    page = window(address.url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for view in VIEWS:
        page.goto(address.url + view)
        page.wait_for_selector("main h1")
        page.wait_for_selector("main li, main [role=log] p")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        look_for_violations(page, view)
    page.locator(".act").first.click()
    look_for_violations(page, "dialog")


def look_for_violations(page: Page, where: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{where}: {found.generate_report()}"


def test_everything_is_reached_by_the_tab_key(window: Open, address: Address, fake: Fake) -> None:
    troubled(fake)
    page = window(address.url)
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.textContent || document.activeElement.ariaLabel")
        )
    for name in ("Skip to the content", "Logs", "Stop …", "Shop/Database/Pool"):
        assert name in [text.strip() for text in reached]
    assert "Search the services" in reached
    page.goto(f"{address.url}#/events")
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_nothing_moves_for_those_who_want_it_so(window: Open, address: Address) -> None:
    page = window(address.url, reduced_motion="reduce")
    twist = "getComputedStyle(document.querySelector('.twist'), '::before').transitionDuration"
    assert page.evaluate(twist) == "0s"


def test_the_page_is_small_and_asks_nobody_else(window: Open, address: Address) -> None:
    assert sum(file.stat().st_size for file in PAGE.iterdir()) < 100_000
    asked: list[str] = []
    page = window(address.url)
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector("h1")
    assert len(asked) > 10
    assert all(url.startswith(address.url) for url in asked)
