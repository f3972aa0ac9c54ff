"""What is shown of a running process, and what is done with it, on every backend."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cli.backends import GROUNDS, Ground
from tests.control.harness import Client
from tests.process.steered import Steered
from tests.workshop import Workshop, eventually

APP = """
    import logging
    import os
    from ginkgo import Service, Setting

    log = logging.getLogger("app.db")

    class Pool(Service):
        ASYNC def do_start(self):
            print("pool up", flush=True)
            if os.path.exists("broken"):
                raise OSError("there is no disk")

    class Db(Service):
        rate: int = Setting("rate", default=60, help="Messages a minute", monitored=True)
        host: str = Setting("db.host", default="h", restart_required=True)
        password: str = Setting("db.password", default="canary-default", secret=True)

        def __init__(self):
            self.add_service(Pool())

        ASYNC def do_start(self):
            self.spawn(self.watch)

        ASYNC def watch(self):
            self.rate.changed
            while True:
                AWAIT self.async_.sleep(0.02)
                if self.rate.changed:
                    log.info("the rate is %d now", self.rate)
                if os.path.exists("fail"):
                    os.remove("fail")
                    raise ValueError("the line broke")

        ASYNC def do_reload(self):
            if os.path.exists("unwilling"):
                raise RuntimeError("not this time")
            log.info("reloaded")

    class App(Service):
        max_restarts = 100

        def __init__(self):
            self.add_service(Db())

        ASYNC def do_start(self):
            print("up", flush=True)
"""


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest, shop: Workshop) -> Ground:
    return Ground(request.param, shop)


@pytest.fixture
def run(ground: Ground) -> Iterator[Callable[..., Steered]]:
    """Run an application; it has to end in order."""
    ran: list[Steered] = []

    def start(text: str = APP, *options: str, **env: str) -> Steered:
        ran.append(Steered(ground, text, *options, **env))
        return ran[-1]

    yield start
    for steered in ran:
        if steered.program.process.poll() is None:
            steered.ends()


def test_a_service_that_failed_shows_why_and_its_whole_story(
    run: Callable[..., Steered], ground: Ground
) -> None:
    app = run()
    before = app.told("services/App/Db")
    assert (before["state"], before["failure"], before["restarts"]) == ("ready", None, 0)
    assert [task["name"] for task in before["tasks"]] == ["Db.watch"]
    assert before["children"] == ["App/Db/Pool"]
    assert [each["name"] for each in before["settings"]] == ["db.host", "db.password", "rate"]

    ground.shop.write("fail", "")
    eventually(lambda: app.told("services/App/Db")["restarts"] == 1)
    app.becomes("App/Db", "ready")
    after = app.told("services/App/Db")
    assert after["since"] > before["since"]
    [cause] = after["last_failure"]["chain"]
    assert cause == {
        "path": "App/Db",
        "phase": "task Db.watch",
        "error": "ValueError",
        "message": "the line broke",
    }
    told = after["last_failure"]["traceback"]
    assert 'raise ValueError("the line broke")' in told
    assert told.splitlines()[1].endswith("in watch")
    kinds = [event["kind"] for event in after["events"]]
    assert "failure" in kinds
    assert "restart" in kinds
    assert app.told("status")["restarts"] == 1


def test_a_setting_is_set_for_now_seen_by_the_service_and_put_back(
    run: Callable[..., Steered],
) -> None:
    app = run()
    told = app.done("set", name="rate", value="180", **{"for": 1.5})
    assert (told["old"], told["value"], told["origin"]) == (60, 180, "ginkgoctl set")
    assert (told["back_to"], told["back_until"]) == (60, None)
    shown = app.setting("rate")
    assert (shown["value"], shown["origin"], shown["until"]) == (
        180,
        "ginkgoctl set",
        told["until"],
    )
    assert app.told("status")["for_now"] == [
        {
            "what": "set",
            "name": "rate",
            "value": 180,
            "until": told["until"],
            "back_to": 60,
            "back_until": None,
        }
    ]
    app.program.wait_for("the rate is 180 now$")
    app.program.wait_for("rate is put back, its time is over: it is 60 again$")
    app.program.wait_for("the rate is 60 now$")
    shown = app.setting("rate")
    assert (shown["value"], shown["origin"], shown["until"]) == (60, "default", None)
    assert app.told("status")["for_now"] == []
    app.program.wait_for(r"audit: set: rate is 180 for 1\.5 s, it was 60, asked for by uid ")


def test_what_was_set_stays_over_a_reload_and_can_be_set_anew(run: Callable[..., Steered]) -> None:
    app = run()
    app.done("set", name="rate", value=1, **{"for": 0.5})
    app.done("set", name="rate", value=2)
    app.done("reload")
    app.program.wait_for("reloaded$")
    shown = app.setting("rate")
    assert (shown["value"], shown["until"]) == (2, None)


def test_below_a_set(run: Callable[..., Steered], ground: Ground) -> None:
    shop = ground.shop
    shop.write("app.conf.py", 'service = "app.App"\nrate = 1\n')
    app = run(target="app.conf.py")
    app.done("set", name="rate", value=7)
    shop.write("app.conf.py", 'service = "app.App"\nrate = "x"\n')
    status, told = app.post("reload")
    assert (status, told["outcome"]) == (409, "refused"), told
    assert "app.conf.py:2: rate must be a whole number (int), not 'x' (str)" in told["refused"][0]
    shop.write("app.conf.py", 'service = "app.App"\nrate = 5\n')
    report = app.done("reload")
    [covered] = report["covered"]
    assert (covered["name"], covered["old"], covered["new"]) == ("rate", "1", "5")
    assert report["changed"] == []
    refused, done = of_kind(app, "reload")
    assert refused["outcome"] == "refused"
    assert done["text"].startswith("reload: when its set ends: rate (1 -> 5); by ")
    shown = app.setting("rate")
    assert (shown["value"], shown["covered"]["value"]) == (7, 5)
    assert shown["covered"]["origin"].endswith("app.conf.py:2")
    assert app.setting("db.host")["covered"] is None
    app.done("reload")  # which finds nothing new, and it is covered all the same
    assert app.setting("rate")["covered"]["value"] == 5


@pytest.mark.parametrize(
    ("name", "value", "wrong", "why"),
    [
        ("loglevel", "info", '"LOUD"', "loglevel: 'LOUD' is not a log level"),
        ("stop_timeout", 3, "-1.0", "stop_timeout is -1, and has to be more than 0"),
        ("logconfig", None, '"gone.ini"', "logconfig gone.ini: No such file"),
    ],
)
def test_a_reload_refuses_what_would_be_of_no_use_when_a_set_ends(
    run: Callable[..., Steered], ground: Ground, name: str, value: Any, wrong: str, why: str
) -> None:
    shop = ground.shop
    shop.write("app.conf.py", 'service = "app.App"\n')
    app = run(target="app.conf.py")
    app.done("set", name=name, value=value)
    before = app.setting(name)
    shop.write("app.conf.py", f'service = "app.App"\n{name} = {wrong}\n')
    status, told = app.post("reload")
    assert (status, told["outcome"]) == (409, "refused"), told
    [refused] = told["refused"]
    assert re.search(r"/app\.conf\.py:2: ", refused) and why in refused, refused
    assert app.setting(name) == before
    shop.write("app.conf.py", 'service = "app.App"\n')
    assert app.done("reload")["outcome"] == "done"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("ratee", "1", "there is no setting ratee; did you mean rate?"),
        ("rate", "fast", "rate must be a whole number, not 'fast'"),
        ("db.host", "x", "db.host takes effect only at a restart"),
        ("db.password", "canary-sent", "db.password is secret"),
        ("stop_timeout", "-1", "stop_timeout"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(
    run: Callable[..., Steered], name: str, value: str, why: str
) -> None:
    app = run()
    status, told = app.post("set", name=name, value=value)
    assert status == 409
    assert why in told["error"]["why"]
    assert app.told("status")["for_now"] == []
    assert "canary-sent" not in app.program.output
    assert app.setting("rate")["value"] == 60


def test_a_logger_is_given_a_level_and_it_is_put_back(run: Callable[..., Steered]) -> None:
    app = run()
    told = app.done("log-level", logger="app.db", level="error", **{"for": 1.0})
    assert (told["level"], told["old"]) == ("ERROR", "DEBUG")
    app.done("reload", path="App/Db")
    app.program.wait_for("the level of logger app.db is put back")
    app.done("reload", path="App/Db")
    app.program.wait_for("INFO app: reloaded$")
    assert len(app.program.wait_for("INFO app: reloaded$")) == 1
    status, told = app.post("log-level", logger="app.dc", level="DEBUG")
    assert (status, told["error"]["do"]) == (409, "Did you mean app.db?")


def test_one_service_is_restarted_and_its_siblings_do_not_notice(
    run: Callable[..., Steered],
) -> None:
    app = run()
    app.becomes("App", "ready")
    since = app.told("services/App")["since"]
    told = app.done("restart", path="App/Db/Pool")
    assert (told["outcome"], told["state"]) == ("done", "ready")
    assert len(app.program.wait_for("^pool up$", 2)) == 2
    assert app.told("services/App")["since"] == since
    assert app.told("services/App/Db")["state"] == "ready"
    app.program.wait_for("audit: /api/v1/restart App/Db/Pool asked for by uid ")
    app.program.wait_for("audit: restart of App/Db/Pool: done, as asked for by uid ")


def test_one_service_is_stopped_and_started_again(run: Callable[..., Steered]) -> None:
    app = run()
    assert app.done("stop", path="App/Db")["state"] == "stopped"
    assert app.told("services/App/Db/Pool")["state"] == "stopped"
    assert app.told("status")["state"] == "ready"
    status, told = app.post("reload", path="App/Db")
    assert (status, told["error"]["why"]) == (
        500,
        "App/Db is stopped, and has nothing to reload",
    )
    assert app.done("restart", path="App/Db")["state"] == "ready"


def test_the_whole_tree_is_restarted_in_its_process(run: Callable[..., Steered]) -> None:
    app = run()
    assert app.done("restart", path="App")["state"] == "ready"
    assert app.program.wait_for("^up$", 2)
    assert app.told("status")["pid"] == app.program.pid


def test_an_action_that_fails_says_why(run: Callable[..., Steered], ground: Ground) -> None:
    app = run()
    ground.shop.write("unwilling", "")
    status, told = app.post("reload", path="App/Db")
    assert status == 500
    assert "RuntimeError: not this time" in told["error"]["why"]
    assert app.told("status")["failed"][0]["why"] == (
        "its last reload failed: RuntimeError: not this time"
    )
    ground.shop.write("broken", "")
    status, told = app.post("restart", path="App/Db/Pool")
    assert (status, told["outcome"]) == (500, "failed")
    assert "OSError: there is no disk" in told["error"]["why"]


def test_events_are_told_as_they_happen(run: Callable[..., Steered]) -> None:
    app = run()
    last = app.told("events")["last"]
    app.done("restart", path="App/Db/Pool")
    told = app.told(f"events?after={last}&path=App/Db/Pool&kind=state")
    assert [event["state"] for event in told["events"]] == [
        "stopping",
        "stopped",
        "starting",
        "ready",
    ]


def of_kind(app: Steered, kind: str) -> list[dict[str, Any]]:
    """The events of a kind."""
    found: list[dict[str, Any]] = app.told(f"events?kind={kind}")["events"]
    return found


BY = r"uid \d+ \(pid \d+, [^)]+\)"


def test_a_set_is_an_event(run: Callable[..., Steered]) -> None:
    app = run()
    app.done("set", name="rate", value=180)
    app.done("log-level", logger="app.db", level="error", **{"for": 600})
    [set_] = of_kind(app, "set")
    assert (set_["path"], set_["name"], set_["old"], set_["value"]) == ("App", "rate", 60, 180)
    assert re.fullmatch(f"set: rate is 180, it was 60; by {BY}", set_["text"])
    [level] = of_kind(app, "log-level")
    assert re.fullmatch(
        rf"log-level: app\.db is ERROR for 600 s, it was DEBUG; by {BY}", level["text"]
    )
    assert re.fullmatch(BY, level["by"])


def test_so_is_one_that_is_refused_and_it_says_why_and_not_what_was_given(
    run: Callable[..., Steered],
) -> None:
    app = run()
    for name, value in (("rate", "canary-given"), ("rat", "1"), ("db.password", "canary-sent")):
        assert app.post("set", name=name, value=value)[0] == 409
    assert app.post("log-level", logger="app.dc", level="debug")[0] == 409
    assert app.post("log-level", logger="root", level="canary-level")[0] == 409
    app.done("set", name="rate", value="7")
    *refused, good = of_kind(app, "set")
    assert [(each["path"], each["name"], each["outcome"]) for each in refused] == [
        ("App", "rate", "refused"),
        ("App", "rat", "refused"),
        ("App", "db.password", "refused"),
    ]
    assert refused[0]["refused"] == ["rate must be a whole number, not ****"]
    assert re.fullmatch(
        rf"set of rat refused: there is no setting rat; did you mean rate\?; by {BY}",
        refused[1]["text"],
    )
    assert re.fullmatch(BY, refused[2]["by"])
    assert (good["outcome"], good["value"]) == ("done", 7)
    level, other = of_kind(app, "log-level")
    assert (level["name"], level["outcome"]) == ("app.dc", "refused")
    assert (other["name"], other["outcome"]) == ("root", "refused")
    assert level["text"].startswith("log-level of app.dc refused: there is no logger 'app.dc'")
    told = json.dumps(app.told("events"))
    assert not [each for each in ("given", "sent", "level") if f"canary-{each}" in told]


def test_what_is_asked_is_an_event(
    run: Callable[..., Steered],
) -> None:
    app = run()
    app.done("restart", path="App/Db/Pool")
    app.done("reload", path="App/Db")
    app.done("stop", path="App/Db")
    asked = of_kind(app, "asked")
    assert [(each["action"], each["path"]) for each in asked] == [
        ("restart", "App/Db/Pool"),
        ("reload", "App/Db"),
        ("stop", "App/Db"),
    ]
    assert re.fullmatch(f"restart asked for; by {BY}", asked[0]["text"])


def test_a_reload(run: Callable[..., Steered], ground: Ground) -> None:
    shop = ground.shop
    shop.write("app.conf.py", 'service = "app.App"\nrate = 100\n')
    app = run(target="app.conf.py")
    shop.write(
        "app.conf.py",
        'service = "app.App"\nrate = 180\nclass db:\n  host = "x"\n  password = "canary-file"\n',
    )
    app.done("reload")
    shop.write("app.conf.py", 'service = "app.App"\nrate = "fast"\n')
    app.program.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(of_kind(app, "reload")) == 2)
    shop.write("app.conf.py", 'service = "app.App"\nrate = 5\n')
    shop.write("unwilling", "")
    assert app.post("reload")[0] == 500
    done, refused, failed = of_kind(app, "reload")
    assert re.fullmatch(
        r"reload: db\.password is \*{4}, it was \*{4}; rate is 180, it was 100; "
        rf"needs a restart: db\.host \(.?h.? -> .?x.?\); by {BY}",
        done["text"],
    )
    assert (done["outcome"], done["path"]) == ("done", "App")
    assert [each["name"] for each in done["changed"]] == ["db.password", "rate"]
    assert [each["name"] for each in done["needs_restart"]] == ["db.host"]
    assert refused["text"].startswith("reload refused: ")
    assert "app.conf.py:2" in refused["refused"][0]
    assert refused["text"].endswith("; by SIGHUP")
    assert (failed["outcome"], failed["failed"][0]["path"]) == ("failed", "App/Db")
    assert failed["text"].startswith("reload failed: App/Db: RuntimeError: not this time; ")
    assert "canary-file" not in json.dumps(app.told("events"))


def test_a_stop_is_an_event(
    run: Callable[..., Steered],
) -> None:
    app = run(APP, "--set", "lameduck=20")
    app.becomes("App", "ready")
    app.program.process.send_signal(signal.SIGTERM)
    eventually(lambda: of_kind(app, "lame-duck"))
    [duck] = of_kind(app, "lame-duck")
    assert (duck["seconds"], duck["by"]) == (20, "SIGTERM")
    assert duck["text"] == "lame duck: it stops in 20 s, and serves until then; by SIGTERM"
    assert [each["text"] for each in of_kind(app, "asked")] == ["stop asked for; by SIGTERM"]
    with Client(str(app.socket)) as client:
        client.ask("GET /api/v1/events?stream=1&kind=asked&limit=0")
        while b"\r\n\r\n" not in client.rest:
            client._more()
        app.post("stop")
        while b"\n\n" not in client.rest.partition(b"\ndata: ")[2]:
            client._more()
    text = json.loads(client.rest.partition(b"\ndata: ")[2].partition(b"\n")[0])["text"]
    assert re.fullmatch(f"stop asked for; by {BY}", text)
    assert app.program.ends() == 0


def test_the_log_is_there_in_the_foreground(run: Callable[..., Steered]) -> None:
    app = run()
    app.done("reload")
    told = app.told("log?grep=reloaded")
    [line] = [line for line in told["lines"] if line["logger"] == "app.db"]
    assert line["text"] in app.program.lines
    assert told["logfile"] is None


def test_garbage_is_collected(run: Callable[..., Steered]) -> None:
    assert run().done("gc")["collected"] >= 0


def test_a_loop_that_is_asked_answers_and_its_lag_is_known(run: Callable[..., Steered]) -> None:
    app = run()
    app.told("status")
    eventually(lambda: app.told("status")["lag"] is not None)
    [sample, *_] = app.told("samples")["samples"]
    assert sample.keys() == {
        "time",
        "cpu",
        "memory",
        "requests",
        "errors",
        "lag",
        "connections",
    }
    status = app.told("status")
    assert status["memory"] > 1 << 20
    assert status["threads"] >= 2
    assert status["tasks"] == 1


# -- what may be in the way

HOSTILE = """
    import os
    import time
    from ginkgo import Service

    def be_hostile():
        while os.path.exists("hangs"):
            time.sleep(0.01)
        if os.path.exists("raises"):
            raise AssertionError("somebody asked")

    def hostile(name):
        def asked(self):
            be_hostile()
            return getattr(Service, name).__get__(self)
        return property(asked)

    class Wrong(Exception):
        def __str__(self):
            be_hostile()
            return "wrong"

    class Hostile(Service):
        ready = hostile("ready")
        restarts = hostile("restarts")
        root = hostile("root")
        state = hostile("state")
        children = hostile("children")
        path = hostile("path")

        def __repr__(self):
            be_hostile()
            return "hostile"

        ASYNC def do_start(self):
            self.spawn(self.work, self)

        ASYNC def work(self, other):
            while not os.path.exists("go"):
                AWAIT self.async_.sleep(0.01)
            raise Wrong

    class App(Service):
        def __init__(self):
            self.add_service(Hostile(), restart="temporary")

        ASYNC def do_start(self):
            print("up", flush=True)
"""

EVERYTHING = (
    "status",
    "tree",
    "dump",
    "settings",
    "events",
    "log",
    "samples",
    "services/App",
    "services/App/Db",
    "services/App/Hostile",
)


@pytest.mark.parametrize("how", ["hangs", "raises"])
def test_the_code_of_a_service_that_hangs_or_raises_does_not_matter(
    run: Callable[..., Steered], ground: Ground, how: str
) -> None:
    app = run(HOSTILE)
    ground.shop.write("go", "")
    app.becomes("App/Hostile", "failed")
    way = ground.shop.write(how, "")
    began = time.monotonic()
    for path in EVERYTHING:
        if path != "services/App/Db":
            app.told(path)
    assert time.monotonic() - began < 10  # whoever waits for it waits for ever
    assert app.told("services/App/Hostile")["failure"]["chain"][0]["message"] == "wrong"
    assert app.told("tree")["children"][0]["why"].endswith("failed: Wrong: wrong")
    way.unlink()
    assert "somebody asked" not in app.program.output


BLOCKED = APP.replace(
    """print("up", flush=True)""",
    """self.spawn(self.block)

        ASYNC def block(self):
            from ginkgo.async_ import native
            def block():
                print("up", flush=True)
                while not os.path.exists("gate"):
                    native.sleep(0.01)
            if self.backend_in_use.name == "threading":
                self.backend_in_use.post(block)
            else:
                block()
            print("free", flush=True)
""",
)


@pytest.mark.fault(41)
def test_all_is_answered_while_the_loop_is_blocked_and_what_was_asked_is_done_afterwards(
    run: Callable[..., Steered], ground: Ground
) -> None:
    app = run(BLOCKED)
    with_it: list[Any] = []
    import threading

    asker = threading.Thread(
        target=lambda: with_it.append(app.done("restart", path="App/Db/Pool")), daemon=True
    )
    asker.start()
    for path in EVERYTHING:
        if path != "services/App/Hostile":
            began = time.monotonic()
            app.told(path)
            assert time.monotonic() - began < 5
    assert not with_it
    ground.shop.write("gate", "")
    asker.join(20)
    assert with_it[0]["outcome"] == "done"
