"""What the page shows is what the API says, while services fail and recover."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.page.fake import Address, Fake, node, rfc3339, setting

Open = Callable[..., Page]

CANARY = "<img src=x onerror='document.title=1'><script>document.title=1</script>&lt;b&gt;"


def row(page: Page, path: str) -> object:
    return page.locator(f'[role=treeitem][data-key="{path}"]')


def test_the_first_look_says_that_all_is_well(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "All 8 services are ready, up for 3 d."
    )
    expect(page.get_by_role("list", name="What to know").locator("li")).to_have_count(0)
    expect(page.get_by_role("treeitem")).to_have_count(8)
    assert page.title() == "Overview · shop is ready"


def test_a_failure_and_its_end_are_seen_as_they_happen(page: Page, fake: Fake) -> None:
    fake.become("Shop/Mailer", "failed", "ConnectionError: the relay is gone")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Degraded: 1 of 8 services has failed."
    )
    wrong = page.get_by_role("list", name="What to know")
    expect(wrong).to_contain_text("Shop/Mailer ConnectionError: the relay is gone")
    mailer = page.locator('[data-key="Shop/Mailer"][role=treeitem]')
    expect(mailer.locator(".state")).to_have_text("failed")
    expect(mailer.locator(".why")).to_have_text("ConnectionError: the relay is gone")
    expect(page.locator(".events li").first).to_contain_text("Shop/Mailer failed")
    assert page.title() == "Overview · shop is degraded"

    fake.become("Shop/Mailer", "ready")
    expect(page.get_by_role("heading", level=1)).to_contain_text("All 8 services are ready")
    expect(wrong.locator("li")).to_have_count(0)
    expect(mailer.locator(".state")).to_have_text("ready")


def test_since_when_something_is_wrong_is_told(page: Page, fake: Fake) -> None:
    fake.find("Shop/Mailer").update(state="failed", why="the relay is gone")
    fake.more |= {"since": rfc3339(time.time() - 242), "state": "degraded"}
    fake.event("Shop/Mailer", "failure", "failed")
    wrong = page.get_by_role("list", name="What to know").locator("li")
    expect(wrong).to_have_text(
        re.compile(r"Shop/Mailer the relay is gone . down since .*\d\d:\d\d:00, for .*")
    )
    state = page.locator(".facts div", has_text="degraded")
    expect(state).to_have_text(re.compile(r"Statedegraded since .*\d\d:\d\d:\d\d, for 4 min .*"))


BY = "127.0.0.1:40312"
WHY = "shop.rate must be a whole number, not ****"
DEEDS = {
    "set": (
        {"name": "shop.rate", "value": 40, "old": 20, "until": None, "by": BY},
        f"the setting shop.rate is 40, it was 20; by {BY}",
    ),
    "log-level": (
        {"name": "shop.db", "value": "DEBUG", "old": "INFO", "until": None, "by": BY},
        f"the level of shop.db is DEBUG, it was INFO; by {BY}",
    ),
    "put-back": (
        {"what": "set", "name": "shop.rate", "value": 20, "old": 40, "until": None},
        "the setting shop.rate is 20 again: the time of 40 is over",
    ),
    "lame-duck": (
        {"seconds": 5.0, "by": "SIGTERM"},
        "lame duck: it stops in 5 s, and serves until then; by SIGTERM",
    ),
    "asked": ({"action": "stop", "by": BY}, "as the process says it"),
    "reload": (
        {"outcome": "refused", "refused": ["shop.conf.py:3: no"], "by": BY},
        "as the process says it",
    ),
}


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("set", "shop.rate", f"the setting shop.rate was not changed: {WHY}; by {BY}"),
        ("log-level", "shop.db", f"the level of shop.db was not changed: {WHY}; by {BY}"),
    ],
)
def test_what_was_refused_to_an_operator_is_told_in_words(
    window: Open, address: Address, fake: Fake, kind: str, name: str, text: str
) -> None:
    page = window(f"{address.url}#/events")
    data = {"name": name, "outcome": "refused", "refused": [WHY], "by": BY}
    fake.event("Shop", kind, "ready", "as the process says it", **data)
    first = page.locator(".events li").first
    expect(first.locator(".text")).to_have_text(text)
    expect(first.locator(".is-degraded")).to_have_count(1)


@pytest.mark.parametrize("kind", DEEDS)
def test_what_operators_do_is_told_in_words(
    window: Open, address: Address, fake: Fake, kind: str
) -> None:
    data, text = DEEDS[kind]
    page = window(f"{address.url}#/events")
    fake.event("Shop", kind, "ready", "as the process says it", **data)
    first = page.locator(".events li").first
    expect(first.locator(".text")).to_have_text(text)
    shape = {"lame-duck": "stopping", "reload": "degraded"}.get(kind, "other")
    expect(first.locator(f".is-{shape}")).to_have_count(1)
    page.get_by_label("Kind of event").select_option(kind)
    expect(page.locator(".events li")).to_have_count(1)


def test_what_holds_for_now_is_told_with_what_comes_after(page: Page, fake: Fake) -> None:
    soon = rfc3339(time.time() + 600)
    fake.more["for_now"] = [
        {"what": "set", "name": "shop.rate", "until": soon, "value": 40, "back_to": 20},
        {"what": "log-level", "name": "shop.db", "until": None, "value": "DEBUG"},
    ]
    fake.event("Shop", "set", "ready")
    told = page.get_by_role("list", name="What to know")
    expect(told).to_contain_text(re.compile(r"shop\.rate is set to 40 for .* more, then it is 20"))
    expect(told).to_contain_text("shop.db has the level DEBUG until it is stopped")


def test_a_service_that_comes_and_goes_is_in_the_tree_as_long_as_it_is_there(
    page: Page, fake: Fake
) -> None:
    fake.tree["children"].insert(1, node("Shop/Guest"))
    fake.event("Shop/Guest", "state", "ready")
    expect(page.get_by_role("treeitem").nth(3)).to_contain_text("Guest")
    fake.tree["children"].pop(1)
    fake.event("Shop", "state", "ready")
    expect(page.get_by_role("treeitem")).to_have_count(8)


def test_a_refused_reload_is_told_with_its_reasons(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.more["last_reload"] = {
        "outcome": "refused",
        "refused": ["shop.conf.py:12: rate: 'many' is no int"],
        "at": "2026-11-24T12:00:00Z",
    }
    fake.more["blocked"] = {
        "count": 1,
        "longest": 3.0,
        "now": {"loop": "gevent", "seconds": 3.2, "path": "Shop/Clock", "doing": "tick"},
    }
    page = window(address.url)
    wrong = page.get_by_role("list", name="What to know")
    expect(wrong).to_contain_text("was refused: shop.conf.py:12: rate: 'many' is no int")
    expect(wrong).to_contain_text("The gevent loop is blocked for 3 s by Shop/Clock: tick")


def test_the_tree_is_walked_by_keys(page: Page) -> None:
    page.get_by_role("treeitem").first.focus()
    focused = page.locator("[role=treeitem]:focus .title")
    for key, name in (
        ("ArrowDown", "Database"),
        ("ArrowRight", "Pool"),
        ("ArrowLeft", "Database"),
        ("End", "Clock"),
        ("m", "Mailer"),
        ("Home", "Shop"),
    ):
        page.keyboard.press(key)
        expect(focused).to_have_text(name)
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("treeitem")).to_have_count(8)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")
    assert page.evaluate("document.activeElement.tagName") == "H1"


def test_what_is_focused_and_closed_stays_so_while_things_happen(page: Page, fake: Fake) -> None:
    page.locator('[data-key="Shop/Mailer"] .twist').click()
    expect(page.get_by_role("treeitem")).to_have_count(6)
    fake.become("Shop/Mailer/Queue", "failed", "it is full")
    mailer = page.locator('[data-key="Shop/Mailer"][role=treeitem]')
    expect(mailer).to_contain_text("1 below not well")
    expect(page.locator("[role=treeitem]:focus .title")).to_have_text("Mailer")
    expect(page.get_by_role("treeitem")).to_have_count(6)


def test_a_search_shows_what_it_finds_with_what_is_above_it(page: Page) -> None:
    page.get_by_role("searchbox", name="Search the services").fill("QUEUE")
    expect(page.get_by_role("treeitem")).to_have_count(3)
    expect(page.get_by_role("status").filter(has_text="1 service of 8 found")).to_be_visible()


def test_a_large_tree_is_closed_but_for_where_something_is_wrong(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.tree = node(
        "Farm",
        *(
            node(f"Farm/Row-{i}", *(node(f"Farm/Row-{i}/Box-{j}") for j in range(30)))
            for i in range(30)
        ),
    )
    fake.become("Farm/Row-7/Box-3", "failed", "no light")
    page = window(address.url)
    expect(page.get_by_role("treeitem")).to_have_count(1 + 30 + 30)
    expect(page.get_by_role("tree").locator(".why", has_text="no light")).to_be_visible()


def test_the_graphs_say_in_words_what_they_show(page: Page) -> None:
    for name in ("CPU", "Memory", "Requests", "Errors", "Loop lag"):
        plot = page.get_by_role(
            "img", name=re.compile(f"^{name} in the last 15 minutes: now .+ peak")
        )
        expect(plot).to_be_visible()
        assert plot.locator(".line").get_attribute("d")


def test_a_services_own_view_tells_all_of_it(window: Open, address: Address, fake: Fake) -> None:
    fake.become("Shop/Database", "failed", "it is away")
    fake.failures["Shop/Database"] = {
        "chain": [
            {
                "path": "Shop/Database",
                "phase": "do_start",
                "error": "OSError",
                "message": "no route",
            }
        ],
        "traceback": 'File "shop.py", line 12, in do_start',
    }
    page = window(f"{address.url}#/service/Shop/Database")
    for text in (
        "it is away",
        "Shop/Database: do_start failed: OSError: no route",
        'File "shop.py", line 12, in do_start',
        "shop.rate",
        "shop.conf.py:12 · default 10",
    ):
        expect(page.get_by_text(text, exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Below it (1)")).to_be_visible()
    page.get_by_role("button", name="What they do now").click()
    expect(page.get_by_text("Shop/Database · Database.look · waiting")).to_be_visible()
    expect(page.get_by_text("shop.py:30 in look\n    sleep(1)")).to_be_visible()
    page.get_by_role("link", name="Pool", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pool")
    fake.find("Shop/Database")["children"].clear()
    fake.event("Shop/Database", "state", "ready")
    expect(page.get_by_text("There is no such service in the tree now.")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")


def test_settings_are_shown_with_their_origin_and_without_secrets(page: Page, fake: Fake) -> None:
    page.get_by_role("link", name="Settings").click()
    rate = page.locator('[data-key="shop.rate"]')
    expect(rate).to_contain_text("20")
    expect(rate).to_contain_text("shop.conf.py:12 · default 10")
    expect(page.locator('[data-key="shop.database.password"] .value code')).to_have_text("****")
    page.get_by_role("checkbox").check()
    expect(page.locator(".settings li")).to_have_count(2)
    page.get_by_role("searchbox").fill("rate")
    expect(page.locator(".settings li")).to_have_count(1)
    fake.settings[0]["value"] = 30
    fake.event("Shop", "reload", "ready")
    expect(rate.locator(".value code")).to_have_text("30")


@pytest.mark.parametrize(
    ("covered", "until", "text"),
    [
        (
            {"value": 30, "origin": "shop.conf.py:14"},
            "soon",
            "30, from shop.conf.py:14, is covered by what is set for now, and in effect when that "
            "is over.",
        ),
        (
            {"value": 10, "origin": "default"},
            None,
            "Its default, 10, is covered by what is set for now, and in effect after a restart.",
        ),
        ({"value": 40, "origin": "shop.conf.py:14"}, "soon", ""),
        (None, None, ""),
    ],
)
def test_what_a_set_covers_is_told_in_words(
    page: Page, fake: Fake, covered: dict[str, Any] | None, until: str | None, text: str
) -> None:
    soon = rfc3339(time.time() + 600) if until else None
    fake.settings[0] |= {"value": 40, "origin": "ginkgoctl set", "until": soon, "covered": covered}
    page.get_by_role("link", name="Settings").click()
    told = page.locator('[data-key="shop.rate"] .covered')
    expect(page.locator('[data-key="shop.rate"] .value code')).to_have_text("40")
    expect(told).to_have_text(text)
    expect(told).to_be_visible(visible=bool(text))
    fake.settings[0] |= {"value": 10, "origin": "default", "until": None, "covered": None}
    fake.event("Shop", "put-back", "ready")
    expect(told).to_be_hidden()


def test_log_lines_come_as_they_are_written_and_are_filtered_where_they_are_kept(
    window: Open, address: Address, fake: Fake
) -> None:
    fake.log("it was before", "INFO")
    page = window(f"{address.url}#/logs")
    log = page.get_by_role("log")
    expect(log).to_contain_text("it was before")
    fake.log("the disk is full", "ERROR", "Shop/Database")
    expect(log.locator("p").last).to_contain_text("ERROR Shop/Database: the disk is full")
    page.get_by_role("combobox", name="Least level").select_option("ERROR")
    expect(log.locator("p")).to_have_count(1)
    assert page.evaluate("location.hash") == "#/logs?level=ERROR"
    fake.log("all is well again", "INFO")
    fake.log("the disk is full", "ERROR", "Shop/Database")
    expect(log.locator("p")).to_have_count(2)
    page.get_by_role("button", name="Pause").click()
    fake.log("the third time", "ERROR")
    expect(page.get_by_text("Paused; 1 line more")).to_be_visible()
    expect(log.locator("p")).to_have_count(2)
    page.get_by_role("button", name="Go on").click()
    expect(log.locator("p").last).to_contain_text("the third time")


@pytest.mark.fault(141)
def test_nothing_that_the_api_tells_is_markup(window: Open, address: Address, fake: Fake) -> None:
    fake.tree["children"].append(
        node("Shop/" + CANARY.replace("/", ""), state="failed", why=CANARY, kind=CANARY)
    )
    path = fake.tree["children"][-1]["path"]
    fake.failures[path] = {
        "chain": [{"path": path, "phase": CANARY, "error": CANARY, "message": CANARY}],
        "traceback": CANARY,
    }
    fake.settings.append(setting(CANARY, CANARY, CANARY, help=CANARY))
    fake.event(path, CANARY, CANARY, CANARY)
    fake.log(CANARY, "ERROR", CANARY)
    fake.more |= {"target": CANARY, "python": CANARY, "config": CANARY}
    page = window(address.url)
    expect(page.get_by_role("list", name="What to know")).to_contain_text(CANARY)
    for view in ("#/events", "#/logs", "#/settings"):
        page.goto(address.url + view)
        expect(page.locator("main")).to_contain_text(CANARY)
        assert page.locator("main img, main script, main b").count() == 0
    page.goto(address.url)
    page.locator("[role=treeitem]").last.click()
    expect(page.locator("pre")).to_have_text(CANARY)
    assert page.locator("main img, main script, main b").count() == 0
    assert page.title() != "1"
