"""A control address without a tree behind it: what the page is driven against.

It says what a test tells it to say, in the shapes of `ginkgo.control.instance`. As a program, for a
look by hand: ``python -m tests.page.fake [PORT]``.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import ginkgo.control

PAGE = Path(ginkgo.control.__file__).parent / "page"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STARTED = "2026-11-24T12:00:00Z"


def node(path: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A node of the tree."""
    return {
        "name": path.split("/")[-1],
        "path": path,
        "state": "ready",
        "why": None,
        "restarts": 0,
        "tasks": 2,
        "since": STARTED,
        "kind": path.split("/")[-1].rstrip("0123456789-"),
        "children": list(children),
        **more,
    }


def small_tree() -> dict[str, Any]:
    """A tree as many have one."""
    return node(
        "Shop",
        node("Shop/Database", node("Shop/Database/Pool", tasks=8), tasks=1),
        node("Shop/WSGIServer", tasks=1, kind="WSGIServer"),
        node("Shop/Mailer", node("Shop/Mailer/Queue", tasks=1), node("Shop/Mailer/Sender")),
        node("Shop/Clock", tasks=0),
    )


class Fake:
    """What the instance says, and what it was asked to do."""

    def __init__(self) -> None:
        self.tree = small_tree()
        self.began = time.time() - 3 * 86_400
        self.pid = 4711
        self.state: str | None = None  # None: as the tree's root
        self.actions = False
        self.token: str | None = None
        self.more: dict[str, Any] = {}  # laid over the status
        self.settings = [
            setting("shop.rate", 20, "shop.conf.py:12", default=10, help="Requests a minute."),
            setting(
                "shop.database.password", "****", "GINKGO_SHOP__DATABASE__PASSWORD", secret=True
            ),
            setting("port", 8000, "default", default=8000, help="Where it listens.", restart=True),
        ]
        self.events: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.failures: dict[str, dict[str, Any]] = {}
        self.stack: dict[str, Any] = {
            "kind": "greenlet",
            "name": "Database.look",
            "service": "Shop/Database",
            "state": "waiting",
            "frames": [{"file": "shop.py", "line": 30, "function": "look", "source": "sleep(1)"}],
        }
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuse: dict[str, Any] | None = None  # what the next actions are answered with
        self.listeners: list[tuple[str, queue.Queue[str | None]]] = []
        for path in ("Shop/Database/Pool", "Shop/Database", "Shop/WSGIServer", "Shop"):
            self.event(path, "state", "ready")

    # -- what a test does

    def find(self, path: str) -> dict[str, Any]:
        return next(each for each in walk(self.tree) if each["path"] == path)

    def event(self, path: str, kind: str, state: str, text: str | None = None, **more: Any) -> None:
        """Something happens."""
        event = {
            "number": len(self.events) + 1,
            "time": time.time(),
            "path": path,
            "kind": kind,
            "state": state,
            "cause": [],
            "text": text or state,
            **more,
        }
        self.events.append(event)
        self.send("events", message("event", event))

    def become(
        self, path: str, state: str, why: str | None = None, text: str | None = None
    ) -> None:
        """A service comes to a state."""
        self.find(path).update(state=state, why=why, since=rfc3339(time.time()))
        self.event(path, "failure" if state == "failed" else "state", state, text)

    def log(self, text: str, level: str = "INFO", service: str = "Shop") -> None:
        """A line is logged."""
        text = f"2026-11-24 12:00:00,000 {level:>9} {service}: {text}"
        line = {"time": time.time(), "level": level, "service": service, "text": text}
        self.lines.append(line)
        self.send("log", message("line", line))

    # -- what it says

    def status(self) -> dict[str, Any]:
        nodes = list(walk(self.tree))
        failed = [each for each in nodes if each["state"] == "failed"]
        state = self.state or ("degraded" if failed else "ready")
        return {
            "name": "shop",
            "target": "shop.conf.py",
            "pid": self.pid,
            "state": state,
            "uptime": time.time() - self.began,
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "services": len(nodes),
            "not_ready": [trouble(each) for each in nodes if each["state"] == "starting"],
            "failed": [trouble(each) for each in failed],
            "last_reload": None,
            "logfile": None,
            "blocked": {"count": 0, "longest": 0.0, "now": None},
            "version": "1.0.0",
            "python": "3.11.7",
            "backend": "gevent",
            "config": "/srv/shop/shop.conf.py",
            "control": "http://127.0.0.1:9100",
            "actions": self.actions,
            "cpu": 4.2,
            "memory": 47_000_000,
            "threads": 3,
            "tasks": sum(each["tasks"] for each in nodes),
            "restarts": sum(each["restarts"] for each in nodes),
            "connections": 17,
            "requests": 90_000,
            "errors": 12,
            "lag": 0.0008,
            **self.more,
        }

    def samples(self) -> dict[str, Any]:
        now = time.time()
        wave = [
            3 + 2 * math.sin(i / 9) + (i % 7) / 5 + (28 if 110 < i < 118 else 0) for i in range(180)
        ]
        return {
            "every": 5,
            "samples": [
                {
                    "time": now - 5 * (180 - i),
                    "cpu": cpu,
                    "memory": 44_000_000 + 15_000 * i,
                    "requests": 1000 * i + int(60 * cpu),
                    "errors": max(0, i - 110) if i < 118 else 8,
                    "lag": cpu / 9000,
                    "connections": 17,
                }
                for i, cpu in enumerate(wave)
            ],
        }

    def service(self, path: str) -> dict[str, Any] | None:
        found = [each for each in walk(self.tree) if each["path"] == path]
        if not found:
            return None
        within = [e for e in self.events if e["path"] == path or e["path"].startswith(path + "/")]
        return {
            **found[0],
            "failure": self.failures.get(path),
            "tasks": [{"name": "accept", "since": STARTED}] * found[0]["tasks"],
            "counters": {"accepted": 1200, "active": 17, "requests": 90_000, "bytes_in": 2**24},
            "address": "127.0.0.1:8000" if "WSGI" in path else None,
            "settings": self.settings[:2],
            "children": [child["path"] for child in found[0]["children"]],
            "events": within[-50:],
        }

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What a GET is answered with."""
        if path == "status":
            return 200, self.status()
        if path == "tree":
            return 200, self.tree
        if path == "settings":
            return 200, {"settings": self.settings}
        if path == "samples":
            return 200, self.samples()
        if path == "dump":
            return 200, {"stacks": [self.stack]}
        if path == "events":
            return 200, {"events": self.after(query)[-100:]}
        if path == "log":
            return 200, {"lines": self.last_lines(query), "logfile": None}
        if path.startswith("services/"):
            service = self.service(path.removeprefix("services/"))
            if service is not None:
                return 200, service
        return 404, {"error": {"what": "There is no such thing", "why": "It is not.", "do": ""}}

    def after(self, query: dict[str, str]) -> list[dict[str, Any]]:
        return [event for event in self.events if event["number"] > int(query.get("after", 0))]

    def last_lines(self, query: dict[str, str]) -> list[dict[str, Any]]:
        wanted = int(query.get("lines", 100))
        kept = [line for line in self.lines if passes(line, query)]
        return kept[-wanted:] if wanted else []

    def past(self, stream: str, query: dict[str, str]) -> list[str]:
        """What a stream begins with."""
        if stream == "events":
            return [message("event", event) for event in self.after(query)]
        return [message("line", line) for line in self.last_lines(query)]

    def act(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """What a POST is answered with."""
        self.asked.append((path, body))
        if self.refuse is not None:
            return 409, {"error": self.refuse}
        return 200, {"outcome": "done", "changed": [], "collected": 7}

    def send(self, stream: str, text: str) -> None:
        for name, waiting in list(self.listeners):
            if name == stream:
                waiting.put(text)


def setting(
    name: str, value: Any, origin: str, *, restart: bool = False, **more: Any
) -> dict[str, Any]:
    """A setting as the API tells of it."""
    return {
        "name": name,
        "value": value,
        "default": None,
        "origin": origin,
        "help": "",
        "type": type(value).__name__,
        "secret": False,
        "restart_required": restart,
        "monitored": False,
        "until": None,
        **more,
    }


def message(event: str, data: dict[str, Any]) -> str:
    return f"id: {data.get('number', 0)}\nevent: {event}\ndata: {json.dumps(data)}\n\n"


def rfc3339(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def walk(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for child in tree["children"]:
        yield from walk(child)


def trouble(each: dict[str, Any]) -> dict[str, Any]:
    return {name: each[name] for name in ("path", "state", "since", "why")}


def passes(line: dict[str, Any], query: dict[str, str]) -> bool:
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    least = levels.index(query.get("level", "DEBUG"))
    return (
        levels.index(line["level"]) >= least
        and query.get("service", "") in line["service"]
        and query.get("grep", "") in line["text"]
    )


class Handler(BaseHTTPRequestHandler):
    """HTTP for it."""

    protocol_version = "HTTP/1.1"
    server: Address

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        if path == "/" or path.startswith("/static/"):
            file = PAGE / (path.removeprefix("/static/") if path != "/" else "index.html")
            self.reply(200, file.read_bytes(), TYPES[file.suffix])
        elif not self.let_in():
            self.json(
                401, {"error": {"what": "A token is wanted", "why": "None was given.", "do": ""}}
            )
        elif query.get("stream"):
            self.stream(path.removeprefix("/api/v1/"), query)
        else:
            self.json(*self.server.fake.answer(path.removeprefix("/api/v1/"), query))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake = self.server.fake
        if self.path == "/login":
            if body["token"] != fake.token:
                self.json(
                    401, {"error": {"what": "Wrong token", "why": "It is another.", "do": ""}}
                )
            else:
                self.json(200, {}, ("Set-Cookie", f"token={fake.token}; HttpOnly; SameSite=Strict"))
        else:
            self.json(*fake.act(self.path.removeprefix("/api/v1/"), body))

    def let_in(self) -> bool:
        token = self.server.fake.token
        return token is None or f"token={token}" in self.headers.get("Cookie", "")

    def stream(self, name: str, query: dict[str, str]) -> None:
        fake, waiting = self.server.fake, queue.Queue[str | None]()
        fake.listeners.append((name, waiting))
        if self.server.closing:  # it came while the others were told
            waiting.put(None)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b": hello\n\n")
        for told in fake.past(name, query):
            self.wfile.write(told.encode())
        try:
            while (text := waiting.get()) is not None:
                if name == "log" and not passes(json.loads(text.split("data: ")[1]), query):
                    continue
                self.wfile.write(text.encode())
        except OSError:
            pass  # the page has gone
        finally:
            fake.listeners.remove((name, waiting))

    def json(self, status: int, content: dict[str, Any], *headers: tuple[str, str]) -> None:
        self.reply(status, json.dumps(content).encode(), "application/json", *headers)

    def reply(self, status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, text in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *headers,
        ):
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Address(ThreadingHTTPServer):
    """Where it answers; it can be taken away, and come back at the same port."""

    daemon_threads = False
    allow_reuse_address = True

    def __init__(self, fake: Fake, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.fake = fake
        self.closing = False
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # those who hang up are no error
            super().handle_error(request, client_address)

    def close(self) -> None:
        self.shutdown()
        self.closing = True
        for _, waiting in list(self.fake.listeners):
            waiting.put(None)
        self.server_close()
        self.thread.join()


if __name__ == "__main__":
    address = Address(Fake(), int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(address.url, flush=True)
