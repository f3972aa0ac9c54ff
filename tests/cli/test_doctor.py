"""``ginkgo doctor``, in real environments that are as they should be, and in some that are not."""

from __future__ import annotations

import json
import resource
import signal
from typing import Any

from tests.workshop import Workshop

import ginkgo


def examined(shop: Workshop, **env: str) -> dict[str, Any]:
    """What it finds; without this user's other instances, which are none of the test's."""
    ran = shop.ginkgo("doctor", "--json", env={"GINKGO_TOKEN": "canary", **env})
    assert "canary" not in ran.stdout
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found["schema"] == "ginkgo.doctor/1"
    assert ran.returncode == (1 if found["problems"] else 0)
    others = [
        each
        for each in found["runtime"]["instances"]
        if not each["folder"].startswith(f"{shop.runtime}/")
    ]
    for other in others:
        found["runtime"]["instances"].remove(other)
    found["problems"] = [
        each
        for each in found["problems"]
        if not any(other["name"] in each["what"] for other in others)
    ]
    return found


def whats(found: dict[str, Any]) -> str:
    return "\n".join(problem["what"] for problem in found["problems"])


def test_it_tells_what_a_bug_report_needs(shop: Workshop) -> None:
    found = examined(shop, GEVENT_LOOP="libev-cext")
    assert found["ginkgo"]["version"] == ginkgo.__version__
    assert found["packages"]["gevent"]
    assert found["packages"]["greenlet"]
    assert found["packages"]["watchfiles"]
    assert found["gevent"]["loop"].startswith("libev")
    assert found["gevent"]["backend"]
    assert found["runtime"]["folder"] == str(shop.runtime / "ginkgo" / "NAME")
    assert found["limits"]["open files"]["soft"] > 0
    assert found["environment"]["values"]["XDG_RUNTIME_DIR"] == str(shop.runtime)
    assert found["environment"]["names"] == sorted(
        {"GINKGO_TOKEN", "GINKGO_TEST_ID", "GEVENT_LOOP"} | set(found["environment"]["names"])
    )
    assert found["places"]["here"] == {"path": str(shop.folder), "writable": True}
    assert found["problems"] == []


def test_it_is_to_be_read_too(shop: Workshop) -> None:
    ran = shop.ginkgo("doctor", env={"GINKGO_TOKEN": "canary"})
    assert f"version  {ginkgo.__version__}" in ran.stdout
    assert "\nproblems:" in ran.stdout
    assert "GINKGO_TOKEN" in ran.stdout
    assert "canary" not in ran.stdout
    assert "\x1b" not in ran.stdout


def test_few_files_are_a_problem(shop: Workshop) -> None:
    ran = shop.run(
        "prlimit", f"--nofile=256:{resource.getrlimit(resource.RLIMIT_NOFILE)[1]}", *DOCTOR
    )
    assert ran.returncode == 1
    assert "256 files open" in whats(json.loads(ran.stdout))


DOCTOR = ("ginkgo", "doctor", "--json")


def test_an_instance_that_was_killed_is_told(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\n\nclass App(Service): pass\n")
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^Starting process")
    assert shop.ctl("app.App", "wait").returncode == 0
    (instance,) = examined(shop)["runtime"]["instances"]
    assert (instance["state"], instance["pid"]) == ("running", program.pid)
    program.signal(signal.SIGKILL)
    program.ends()
    found = examined(shop)
    assert "app.App has ended without taking its files away" in whats(found)
    assert "its next start clears up" in shop.ginkgo("doctor").stdout
    for name in shop.left_files():
        (shop.runtime / name).unlink()


def test_a_gevent_that_cannot_be_imported_is_told_and_no_traceback(shop: Workshop) -> None:
    shop.write("broken/gevent.py", "raise ImportError('libev is gone')")
    found = examined(shop, PYTHONPATH=str(shop.folder / "broken"))
    assert "gevent cannot be imported: ImportError: libev is gone" in whats(found)


def test_a_session_folder_that_is_not_there_is_told(shop: Workshop) -> None:
    missing = str(shop.folder / "gone")
    found = examined(shop, XDG_RUNTIME_DIR=missing)
    assert f"XDG_RUNTIME_DIR is {missing}" in whats(found)
