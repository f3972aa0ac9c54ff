"""What the tests of an application use: a clock that they move by hand."""

from .clock import FakeClock

__all__ = ["FakeClock"]
