"""The page's files: a table, and no way from it into the file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.control.conftest import Serve
from tests.control.harness import Served

from ginkgo.control.routes_page import FOLDER, TYPES, files
from ginkgo.control.tcp import Tcp


def test_the_page_is_served(served: Served) -> None:
    with served.client() as client:
        client.ask("GET /")
        status, headers, body = client.read()
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        with open(os.path.join(FOLDER, "index.html"), "rb") as file:
            assert body == file.read()


@pytest.mark.parametrize("name", sorted(files()))
def test_every_file_has_its_type_and_is_not_sent_twice(served: Served, name: str) -> None:
    with served.client() as client:
        client.ask(f"GET /static/{name}")
        status, headers, body = client.read()
        assert (status, len(body) > 0) == (200, True)
        assert headers["content-type"] == TYPES[os.path.splitext(name)[1]]
        assert headers["cache-control"] == "no-cache"
        for tags in (headers["etag"], f'"other", W/{headers["etag"]}'):
            client.ask(f"GET /static/{name}", If_None_Match=tags)
            status, again, _ = client.read(head_only=True)
            assert (status, again["etag"]) == (304, headers["etag"])
        client.ask(f"GET /static/{name}", If_None_Match='"older"')
        assert client.read()[0] == 200


@pytest.mark.fault(144)
@pytest.mark.parametrize(
    "path",
    [
        "../routes_page.py",
        "..%2froutes_page.py",
        "%2e%2e/routes_page.py",
        "%2e%2e%2froutes_page.py",
        "..\\routes_page.py",
        "....//routes_page.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "page.js%00.html",
        "page.js/",
        "./page.js",
        "PAGE.JS",
        "",
        ".",
        "..",
        "page.css?/../../routes_page.py/page.cs",
        "\xe9",
        "file:///etc/passwd",
        "con",
        "a" * 10_000,
    ],
)
def test_no_path_of_a_client_is_looked_for(served: Served, path: str) -> None:
    with served.client() as client:
        client.ask(f"GET /static/{path}")
        status, _, body = client.read()
    if "?" in path:
        assert (status, body) == (200, files()["page.css"].body)  # a query is no path
    else:
        assert status in (400, 404)
        assert b"root:" not in body


def test_the_page_needs_no_token_and_tells_nothing(serve: Serve, tmp_path: Path) -> None:
    served = serve(tmp_path, tcp=Tcp("127.0.0.1:0", token="t" * 20))
    with served.tcp_client() as client:
        client.ask("GET /")
        status, _, body = client.read()
    assert (status, b"t" * 20 in body) == (200, False)
