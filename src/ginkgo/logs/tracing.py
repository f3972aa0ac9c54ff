"""Which trace a log record belongs to, where the application uses OpenTelemetry.

A record that is logged within a span carries the ids of the trace and the span, in the form in
which W3C's Trace Context writes them, so that whoever looks at a trace finds its log lines. Nothing
is imported for it: where the application has not imported OpenTelemetry there is no span.

Source: https://www.w3.org/TR/trace-context/, https://opentelemetry.io/docs/specs/otel/logs/
"""

from __future__ import annotations

import logging
import sys


class TraceContext(logging.Filter):
    """A filter that lets every record pass, and gives it `trace_id` and `span_id`.

    It belongs to a handler, as a logger's filters do not see the records of the loggers below it.

    Args:
        missing: what a record gets that belongs to no trace; None for no attributes at all.

    Example:
        >>> handler.addFilter(TraceContext("0"))
        >>> handler.setFormatter(logging.Formatter("%(message)s trace_id=%(trace_id)s"))
    """

    def __init__(self, missing: str | None = None) -> None:
        super().__init__()
        self._missing = missing

    def filter(self, record: logging.LogRecord) -> bool:
        """Give the record its ids; one that has some keeps them."""
        if hasattr(record, "trace_id"):
            return True
        trace = sys.modules.get("opentelemetry.trace")
        current = getattr(trace, "get_current_span", None)  # None while it is being imported
        context = None if current is None else current().get_span_context()
        if context is not None and context.is_valid:
            record.trace_id = f"{context.trace_id:032x}"
            record.span_id = f"{context.span_id:016x}"
        elif self._missing is not None:
            record.trace_id = record.span_id = self._missing
        return True
