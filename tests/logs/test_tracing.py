"""Log records know the trace that they belong to."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from ginkgo.logs import setup
from ginkgo.logs.tracing import TraceContext

SPAN = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=0x12, is_remote=False))
TRACE_ID, SPAN_ID = "00000000000000000000000000000abc", "0000000000000012"


def record() -> logging.LogRecord:
    return logging.LogRecord("app", logging.INFO, "app.py", 1, "hello", None, None)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()
    setup.unconfigure()


def test_a_record_within_a_span_carries_its_ids():
    made = record()
    with use_span(SPAN):
        assert TraceContext().filter(made)
    assert (made.trace_id, made.span_id) == (TRACE_ID, SPAN_ID)


def test_a_record_of_no_trace_is_left_alone_or_gets_what_is_wanted():
    left, given = record(), record()
    assert TraceContext().filter(left)
    assert TraceContext("0").filter(given)
    assert not hasattr(left, "trace_id")
    assert (given.trace_id, given.span_id) == ("0", "0")


def test_ids_that_a_record_has_already_are_kept():
    made = record()
    made.trace_id = "mine"
    with use_span(SPAN):
        TraceContext().filter(made)
    assert made.trace_id == "mine"
    assert not hasattr(made, "span_id")


def test_json_lines_have_the_ids(stream: io.StringIO):
    setup.configure(daemon=False, stream=stream, logformat="json")
    logging.getLogger("app.db").info("outside")
    with use_span(SPAN):
        logging.getLogger("app.db").info("within")
    outside, within = map(json.loads, stream.getvalue().splitlines())
    assert "trace_id" not in outside
    assert (within["trace_id"], within["span_id"]) == (TRACE_ID, SPAN_ID)


def test_a_format_of_ones_own_may_name_them(stream: io.StringIO):
    config = {"format": "%(message)s %(trace_id)s", "level": "INFO"}
    setup.configure(config, daemon=False, stream=stream)
    logging.getLogger("app").info("outside")
    with use_span(SPAN):
        logging.getLogger("app").info("within")
    assert stream.getvalue() == f"outside 0\nwithin {TRACE_ID}\n"


def test_opentelemetry_is_not_imported_for_it():
    code = (
        "import logging, sys\n"
        "from ginkgo.logs.tracing import TraceContext\n"
        "r = logging.LogRecord('a', 20, 'a.py', 1, 'hello', None, None)\n"
        "assert TraceContext('0').filter(r) and r.trace_id == '0'\n"
        "assert 'opentelemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
