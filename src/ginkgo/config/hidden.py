"""The values that must not be shown, wherever they turn up: in an exception's text, in a log line.

A secret setting prints as `****` because its name is known. What an application makes of its value
(`ConnectionError: cannot log in as app:hunter22`) can only be told by the value itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from .names import environment_name
from .snapshot import Entry, Snapshot

SHORTEST = 6
"""Characters of a value that is looked for: a shorter one is found in every other word."""

_PASSWORD = re.compile(r"://[^/:@\s]*:([^@/\s]+)@")
"""The password in a URL."""

_WORDS = ("PASSW", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE_KEY", "API_KEY", "ACCESS_KEY")


def secret_values(snapshot: Snapshot, environ: Mapping[str, str]) -> set[str]:
    """Return what must not be shown: the values of secret settings, and what looks like one.

    Args:
        snapshot: the configuration in effect.
        environ: the process's environment. What is named like a secret there is one.
    """
    found: set[str] = set()
    for setting in snapshot.declared():
        if snapshot.secret(setting.path):
            looked = snapshot.look(setting)
            if isinstance(looked, Entry):
                found.update(_texts(looked.value))
            found.update(_texts(environ.get(environment_name(setting.path))))
    for name, value in environ.items():
        if any(word in name.upper() for word in _WORDS) and not name.upper().endswith("_FILE"):
            found.add(value)
        found.update(_PASSWORD.findall(value))
    spelt = {each for text in found for each in _spellings(text)}
    return {text for text in spelt if len(text) >= SHORTEST}


def _spellings(text: str) -> Iterator[str]:
    """Yield the ways in which a secret is met: in JSON, in a repr, in a URL, line by line."""
    yield text
    if not text.isalnum():
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield repr(text)[1:-1]
        yield from (quote(text, safe=""), quote_plus(text))
        yield from (line.strip() for line in text.splitlines())


def _texts(value: Any, depth: int = 3) -> Iterator[str]:
    """Yield the texts in plain data."""
    if type(value) is str:
        yield value
    elif type(value) is bytes:
        yield value.decode("utf-8", "replace")
    elif type(value) in (int, float):
        yield str(value)
    elif depth and type(value) is dict:
        for each in value.values():
            yield from _texts(each, depth - 1)
    elif depth and type(value) in (list, tuple, set, frozenset):
        for each in value:
            yield from _texts(each, depth - 1)
