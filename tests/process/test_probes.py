"""When an instance is ready, and when it is alive: the rules of the probes."""

from __future__ import annotations

from typing import Any

import pytest

from ginkgo.process import probes

DOWN = {"path": "App/Db", "state": "failed", "why": "start failed: OSError: no"}


def status(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "stopping": None, "not_ready": [], "failed": [], **more}


@pytest.mark.parametrize("state", ["init", "starting", "degraded", "stopping", "stopped", "failed"])
def test_nothing_but_ready_is_ready(state: str) -> None:
    verdict = probes.ready(status(state))
    assert (verdict.good, verdict.text()) == (False, f"not ready: {state}\n")


def test_ready_is_ready() -> None:
    assert probes.ready(status("ready")) == (True, "ready", ())


def test_degraded_is_ready_for_whoever_says_so() -> None:
    told = status("degraded", failed=[DOWN])
    assert probes.ready(told, degraded_is_ready=True).good
    assert not probes.ready(told).good
    assert not probes.ready(status("failed", failed=[DOWN]), degraded_is_ready=True).good


def test_a_lame_duck_is_not_ready_although_its_services_are() -> None:
    verdict = probes.ready(status("ready", stopping="lame duck"), degraded_is_ready=True)
    assert (verdict.good, verdict.said) == (False, "not ready: lame duck")


def test_the_text_names_the_services_and_why() -> None:
    waits = {"path": "App", "state": "starting", "why": None}
    verdict = probes.ready(status("starting", not_ready=[waits], failed=[DOWN]))
    assert verdict.text() == (
        "not ready: starting\nApp: starting\nApp/Db: failed: start failed: OSError: no\n"
    )
    assert verdict.text(why=False) == "not ready: starting\nApp: starting\nApp/Db: failed\n"


def test_each_thing_that_is_looked_at_is_told_to_whoever_wants_that() -> None:
    waits = {"path": "App", "state": "starting", "why": "waits for Db"}
    told = status("starting", not_ready=[waits], failed=[DOWN])
    services = ["App", "App/Web", "App/Db"]
    checks = list(probes.ready_checks(told, services))
    assert probes.verbose("readyz", checks, good=False) == (
        "[+]shutdown ok\n"
        "[-]state failed: starting\n"
        "[-]App failed: starting: waits for Db\n"
        "[+]App/Web ok\n"
        "[-]App/Db failed: start failed: OSError: no\n"
        "readyz check failed\n"
    )
    assert probes.verbose("readyz", checks, good=False, why=False) == (
        "[+]shutdown ok\n"
        "[-]state failed: starting\n"
        "[-]App failed: starting\n"
        "[+]App/Web ok\n"
        "[-]App/Db failed: reason withheld\n"
        "readyz check failed\n"
    )


def test_degraded_is_told_as_the_state_of_the_tree_unless_it_is_asked_for() -> None:
    told = status("degraded", failed=[DOWN])
    checks = list(probes.ready_checks(told, ["App", "App/Db"]))
    assert [check.name for check in checks if not check.good] == ["state", "App/Db"]
    assert [check.name for check in checks] == ["shutdown", "state", "App/Db"]
    asked = list(probes.ready_checks(told, ["App"], degraded_is_ready=True))
    assert [check.name for check in asked if not check.good] == ["App/Db"]
    assert probes.verbose("readyz", asked, good=True).endswith("no\nreadyz check passed\n")


def test_a_service_that_could_not_reload_serves_on() -> None:
    told = status("ready", failed=[DOWN | {"state": "ready", "why": "its last reload failed"}])
    assert all(check.good for check in probes.ready_checks(told, ["App", "App/Db"]))


def test_a_lame_duck_is_told_as_a_shutdown() -> None:
    checks = probes.ready_checks(status("ready", stopping="lame duck"), ["App", "App/Db"])
    assert probes.verbose("readyz", checks, good=False) == (
        "[-]shutdown failed: lame duck\n[+]state ok\n[+]App/Db ok\nreadyz check failed\n"
    )


def test_of_life_the_loop_is_looked_at() -> None:
    now = {"loop": "hub", "seconds": 31.0, "path": "App/Worker", "doing": None}
    dead = probes.live({"blocked": {"count": 1, "longest": 31.0, "now": now}})
    assert probes.verbose("livez", probes.live_checks(dead), good=False) == (
        "[-]loop failed: hub is blocked for 31 s by App/Worker\nlivez check failed\n"
    )
    alive = probes.live_checks(probes.live({}))
    assert probes.verbose("healthz", alive, good=True) == "[+]loop ok\nhealthz check passed\n"


def test_an_older_instance_that_tells_less_is_understood() -> None:
    assert probes.ready({"state": "ready"}).good
    assert not probes.ready({}).good
    assert probes.live({}).good


def test_a_loop_that_is_blocked_for_long_is_no_life() -> None:
    now = {"loop": "hub", "seconds": 31.0, "path": "App/Worker", "doing": None}
    blocked = {"blocked": {"count": 1, "longest": 31.0, "now": now}}
    assert probes.live(blocked) == (False, "hub is blocked for 31 s by App/Worker", ())
    assert probes.live(blocked, limit=60.0).good
    assert probes.live({"blocked": {"count": 1, "longest": 99.0, "now": None}}).good
