"""A log of JSON lines, for whoever collects logs by machine: ``logformat = "json"``.

    {"ts": "2026-11-24T22:41:33.002Z", "level": "ERROR", "logger": "app.db", "msg": "App/Db: gone",
     "service": "App/Db", "task": "Task-3", "error": "Traceback (most recent call last):\\n ..."}

It is python-json-logger's formatter, which knows how to write what is no JSON, with the fields and
the promises of Ginkgo's: one record is one line of less than 64 KiB, whatever is in it, a traceback
begins with the user's frames, and no secret is shown. What a call gives as ``extra`` is a field of
its own. Fields that are not known are left out.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from ginkgo.core.context import context
from ginkgo.logs.format import LIMIT, Formatter, message_of, shorten
from ginkgo.logs.hiding import hide, hide_all
from ginkgo.logs.ring import rfc3339

_PATH = re.compile(r"([\w.-]+(?:/[\w.-]+)*):? ")
_OF_NOBODY = ("MainThread", "Dummy")  # a greenlet's is a dummy
_TOLD = frozenset({*RESERVED_ATTRS, "taskName"})
_CUTS = (LIMIT // 8, LIMIT // 32, LIMIT // 128)  # characters of a text, until the line is short


class JsonLines(JsonFormatter):
    """A formatter whose records are JSON objects, each in a line of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._text = Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as its line."""
        data: dict[str, Any] = {}
        self.add_fields(data, record, {})
        line = self.serialize_log_record(data)
        for limit in _CUTS:
            if len(line) < LIMIT:
                return line
            line = self.serialize_log_record(_shortened(data, limit))
        if len(line) < LIMIT:
            return line
        known = {name: data[name] for name in ("ts", "level", "logger", "msg")}
        return self.serialize_log_record(_shortened(known | {"cut": True}, _CUTS[-1]))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put into `log_data` what is known of the record."""
        message = hide(message_of(record))
        log_data |= {
            "ts": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "msg": message,
        }
        service = _service_in(message)
        task = getattr(record, "taskName", None)
        if service is not None:
            log_data["service"] = service
        if task is not None:
            log_data["task"] = task
        elif (record.threadName or "MainThread").partition("-")[0] not in _OF_NOBODY:
            log_data["thread"] = record.threadName
        if record.exc_info:
            log_data["error"] = hide(self._text.formatException(record.exc_info))
        elif record.exc_text:
            log_data["error"] = hide(record.exc_text)
        if record.stack_info:
            log_data["stack"] = hide(record.stack_info)
        for name, value in record.__dict__.items():
            if name not in _TOLD and not name.startswith("_"):
                field = f"extra_{name}" if name in log_data and name != "service" else name
                log_data[field] = hide_all(_plain(value))


def _service_in(message: str) -> str | None:
    """The path that a message begins with, where it is one of this tree's."""
    found = _PATH.match(message)
    root = context.root
    if found is None or root is None or found[1].partition("/")[0] != root.name:
        return None
    return found[1]


def _plain(value: object) -> Any:
    """Return `value` as data of JSON; never raises."""
    try:
        return json.loads(json.dumps(value, cls=JsonEncoder, allow_nan=False))
    except Exception:  # noqa: BLE001 - NaN, a circle, or a user's class that raises
        try:
            return str(value)
        except Exception as error:  # noqa: BLE001 - as above
            return f"<{type(value).__name__}: its __str__ raises {type(error).__name__}>"


def _shortened(data: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return `data` with its long texts cut; what is no text becomes one where it is long."""
    result = {}
    for name, value in data.items():
        text = value if isinstance(value, str) else json.dumps(value)
        result[name] = shorten(text, limit) if len(text) > limit else value
    return result
