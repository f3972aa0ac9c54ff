"""An instance without a tree: what the control plane and the manager are tested against.

In a test's own process as a `FakeInstance`; as a program ``fake_instance.py NAME [no-control]
[no-record]``, driven by lines on its standard input:

    state ready           the root is in that state now
    stopping lame duck    it is about to stop
    trouble PATH STATE    a service is not ready, or failed
    log LOGGER            that logger has logged something
    report JSON           what the next reloads report; without JSON they are never done
    deaf                  take no notice of SIGTERM and of the API's stop
    child                 have a child that does not end with us
    exit 3                end with this status
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ginkgo.logs.ring import Ring

DONE: dict[str, Any] = {"outcome": "done", "changed": [], "needs_restart": [], "failed": []}


class FakeInstance:
    """What `ginkgo.control.instance.Instance` asks for, driven by a test."""

    def __init__(self, name: str = "app") -> None:
        self.name = name
        self.state = "ready"
        self.stopping: str | None = None
        self.loop = "runs"  # or "late", or known to be "blocked"
        self.troubles: list[dict[str, Any]] = []
        self.report: dict[str, Any] | None = dict(DONE)
        self.reloads: list[Callable[[dict[str, Any]], None]] = []
        self.stops = 0
        self.on_stop: Callable[[], None] = lambda: None
        self.on_reload: Callable[[], None] = lambda: None
        self.logfile: str | None = None
        self.happened: list[dict[str, Any]] = []
        self.followers: list[Callable[[dict[str, Any]], object]] = []
        self.ring = Ring("App")
        self.sampled = 0
        self.acts: list[tuple[str, str]] = []
        self.why: str | None = None
        self._callbacks: list[Callable[[str], None]] = []
        self._began = time.monotonic()

    def status(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "target": "fake.App",
            "pid": os.getpid(),
            "state": self.state,
            "uptime": time.monotonic() - self._began,
            "started_at": "2026-11-24T12:00:00Z",
            "services": 3,
            "not_ready": [one for one in self.troubles if one["state"] != "failed"],
            "failed": [one for one in self.troubles if one["state"] == "failed"],
            "cpu": None,
            "memory": None,
            "threads": None,
            "lag": None,
            "tasks": 0,
            "connections": 0,
            "requests": 0,
            "errors": 0,
            "restarts": 0,
            "last_reload": None,
            "logfile": self.logfile,
            "stopping": self.stopping,
        }

    def dump(self) -> dict[str, Any]:
        return {"name": self.name, "pid": os.getpid(), "backend": "gevent", "stacks": []}

    def metrics(self, *, complete: bool) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        told = GaugeMetricFamily("ginkgo_metrics_complete", "Of the fake.", value=float(complete))
        yield None
        yield told

    def ask_loop(self, function: Callable[[], object]) -> bool:
        if self.loop == "runs":
            function()
        return self.loop != "blocked"

    def tree(self) -> dict[str, Any]:
        child = {"name": "Db", "path": "App/Db", "state": self.state, "why": None, "children": []}
        root = {**child, "name": "App", "path": "App", "children": [child]}
        return {**root, "stopping": self.stopping}

    def paths(self) -> list[str]:
        return ["App", "App/Db"]

    def service(self, path: str) -> dict[str, Any] | None:
        if path not in self.paths():
            return None
        return {
            "path": path,
            "name": path.rpartition("/")[2],
            "kind": "Db",
            "parent": path.rpartition("/")[0] or None,
            "state": self.state,
            "why": None,
            "since": "2026-11-24T12:00:00.000Z",
            "restarts": 0,
            "failure": None,
            "tasks": [],
            "address": None,
            "children": [],
            "counters": None,
            "settings": [],
            "events": [],
        }

    def settings(self) -> list[dict[str, Any]]:
        return []

    def events(self) -> list[dict[str, Any]]:
        return list(self.happened)

    def follow_events(self, follower: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        self.followers.append(follower)
        return lambda: self.followers.remove(follower)

    def happen(self, number: int, path: str = "App/Db", kind: str = "state") -> None:
        """Have an event, as the application's loop would: from another thread."""
        event = {"number": number, "time": "2026-11-24T12:00:00.000Z", "path": path, "kind": kind}
        self.happened.append(event | {"state": "ready", "text": "ready", "cause": []})
        for follower in tuple(self.followers):
            follower(self.happened[-1])

    def log(self, most: int) -> list[Any]:
        return self.ring.lines()

    def follow_log(self, follower: Callable[[Any], object]) -> Callable[[], None]:
        return self.ring.listen(follower)

    def sample(self) -> None:
        self.sampled += 1

    def samples(self) -> dict[str, Any]:
        return {"every": 5.0, "samples": []}

    def act(self, kind: str, path: str, by: str, done: Callable[[dict[str, Any]], object]) -> bool:
        if path not in self.paths():
            return False
        self.acts.append((kind, path))
        done(
            {
                "action": kind,
                "path": path,
                "outcome": "failed" if self.why else "done",
                "state": "ready",
                "why": self.why,
                "seconds": 0.1,
            }
        )
        return True

    def set(
        self,
        name: str,
        value: Any,
        seconds: float | None,
        by: str,
        done: Callable[[dict[str, Any]], object],
    ) -> None:
        if name != "rate":
            done({"refused": f"there is no setting {name}", "hint": "Look for another."})
            return
        until = None if seconds is None else "2026-11-24T12:10:00.000Z"
        told = {"name": name, "old": 60, "value": value, "origin": "ginkgoctl set"}
        done({**told, "until": until, "back_to": 60 if until else None, "back_until": None})

    def log_level(
        self,
        logger: str,
        level: str | int,
        seconds: float | None,
        by: str,
        done: Callable[[dict[str, Any]], object],
    ) -> None:
        done({"logger": logger or "root", "old": "INFO", "level": level, "until": None})

    def collect(self, done: Callable[[dict[str, Any]], object]) -> None:
        done({"collected": 0})

    def reload(self, by: str, done: Callable[[dict[str, Any]], object]) -> None:
        self.reloads.append(done)
        self.on_reload()
        if self.report is not None:
            done(self.report)

    def stop(self, by: str) -> None:
        self.stops += 1
        self.on_stop()

    def on_state(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def become(self, state: str) -> None:
        """Come to a state, as the application's loop would: from another thread."""
        self.state = state
        for callback in self._callbacks:
            callback(state)


class FakeProcess:
    """A fake instance that has a process, a runtime folder, a lock and a control socket."""

    def __init__(self, name: str, control: bool, published: bool = True) -> None:
        from ginkgo.control.server import ControlServer
        from ginkgo.process.runtime import Record, RuntimeFolder, runtime_folder

        self.fake = FakeInstance(name)
        self.fake.logfile = os.environ.get("FAKE_LOGFILE")
        self.fake.on_stop = lambda: os.kill(os.getpid(), signal.SIGTERM)
        self.ended = threading.Event()
        self.status = 0
        self.deaf = False
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.handle)
        self.folder = RuntimeFolder.open(runtime_folder(name))
        self.folder.acquire(name)
        record = Record.of_this_process(
            name,
            "fake.App",
            tuple(sys.argv),
            logfile=self.fake.logfile,
            control=os.path.join(self.folder.path, "control.sock"),
        )
        if published:
            self.folder.publish(record)
        self.fake.on_reload = lambda: print("reload asked", flush=True)
        self.server = ControlServer(self.folder.fd, self.fake) if control else None
        if self.server is not None:
            self.server.start()
            api = self.server._api
            begin = api.wait

            def wait(*args: Any) -> Any:
                answer = begin(*args)
                if answer is None:
                    print("wait begun", flush=True)
                return answer

            api.wait = wait  # type: ignore[method-assign]
        print("up", os.getpid(), flush=True)

    def handle(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            if not self.deaf:
                self.ended.set()
        else:
            print("hangup", flush=True)

    def obey(self) -> None:
        """Follow the lines on standard input until the stop."""
        threading.Thread(target=self.read, daemon=True).start()
        self.ended.wait()
        if self.server is not None:
            self.fake.become("stopped")
            self.server.close()
        self.folder.close()
        sys.stdout.flush()
        os._exit(self.status)

    def read(self) -> None:
        # A signal that the kernel gives to this thread would not wake the one that waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
        for line in sys.stdin:
            self.command(*line.split(maxsplit=1))
            print("did", line.strip(), flush=True)

    def command(self, verb: str, rest: str = "") -> None:
        rest = rest.strip()
        if verb == "state":
            self.fake.become(rest)
        elif verb == "stopping":
            self.fake.stopping = rest
        elif verb == "trouble":
            path, state = rest.split()
            self.fake.troubles.append({"path": path, "state": state, "why": "it is a test"})
        elif verb == "log":
            record = logging.LogRecord(rest, logging.INFO, "", 0, "a line", None, None)
            self.fake.ring.handle(record)
        elif verb == "report":
            self.fake.report = json.loads(rest) if rest else None
        elif verb == "deaf":
            self.deaf = True
        elif verb == "child":
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
        elif verb == "exit":
            self.status = int(rest)
            self.ended.set()


def main() -> None:
    name, *words = sys.argv[1:]
    FakeProcess(name, "no-control" not in words, "no-record" not in words).obey()


if __name__ == "__main__":
    main()
