"""The real thread, lock, socket and poller, whatever a process has patched.

`gevent.monkey.patch_all()` replaces these in the standard library by cooperative ones, which belong
to the hub of the thread that made them. A thread that has to answer while that hub is blocked (the
control plane, the bridge) needs the originals:

    standard library            patched by gevent            native
    _thread.start_new_thread    spawns a greenlet            start_thread()
    threading.Lock, RLock       wait in the hub              lock(), rlock()
    socket.socket               waits in the hub             socket(), accept(), socketpair()
    select.epoll                taken away                   epoll()
    time.sleep                  waits in the hub             sleep()

Everything is looked up when it is called, not when this module is imported: patching may come
later. gevent is never imported from here; where it is not loaded, nothing can have been patched.

What runs in a native thread must not touch `logging`, `threading`, `queue` or an import that has
not happened yet: their locks may be the hub's.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import signal
import socket as socket_module
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import select

__all__ = [
    "NativeThread",
    "accept",
    "epoll",
    "get_ident",
    "lock",
    "name_of",
    "name_this_thread",
    "original",
    "rlock",
    "sleep",
    "socket",
    "socketpair",
    "start_thread",
]

# Sent by the processor or by abort() to the very thread that did wrong: blocking them helps nobody,
# and would take the traceback away from faulthandler.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


def original(module: str, name: str) -> Any:
    """Return `name` of the standard library's `module` as it was before any monkey patching.

    Example:
        original("time", "sleep")
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(import_module(module), name)
    return monkey.get_original(module, name)


class NativeThread:
    """A thread of the operating system that runs one function; it does not keep the process alive.

    The standard `threading.Thread` cannot be used: in a patched process it is made of greenlets.
    """

    __slots__ = ("_ended", "ident")

    def __init__(self) -> None:
        self.ident = 0
        self._ended = lock()
        self._ended.acquire()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread, at most `timeout` seconds; True if it has ended.

        Blocks the whole calling thread, on gevent the hub too: meant for ends that are near.
        """
        if not self._ended.acquire(timeout=timeout):
            return False
        self._ended.release()
        return True

    @property
    def alive(self) -> bool:
        """Whether the function still runs."""
        return self._ended.locked()

    def _run(self, function: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            function(*args)
        finally:
            self._ended.release()


def start_thread(
    function: Callable[..., object], *args: object, name: str, block_signals: bool = True
) -> NativeThread:
    """Run `function(*args)` in a new thread of the operating system.

    Signals are blocked in the thread, so that the kernel hands them to the main thread and wakes
    it: Python runs signal handlers nowhere else.

    Args:
        function: what to run; it should let no exception out.
        name: what `top -H` and `ps -L` show; the kernel keeps 15 bytes.
        block_signals: False for a thread that runs what users wrote: a program that is started from
            there would inherit it, and not end on SIGTERM. Where the main thread does not block a
            signal, the kernel tries it first all the same.
    """
    thread = NativeThread()
    if not block_signals:
        start = original("_thread", "start_new_thread")
        thread.ident = start(_named, (name, thread, function, args))
        return thread
    # Blocked before the start and inherited: no moment is left in which a signal can go astray.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
    try:
        start = original("_thread", "start_new_thread")
        thread.ident = start(_named, (name, thread, function, args))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


def _named(
    name: str, thread: NativeThread, function: Callable[..., object], args: tuple[object, ...]
) -> None:
    ident = get_ident()
    _names[ident] = name
    try:
        # proc(5): a thread's name may be written by its own process.
        fd = os.open(f"/proc/self/task/{_thread.get_native_id()}/comm", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        pass  # no /proc: the thread does its work without a name
    else:
        try:
            os.write(fd, name.encode()[:15])
        finally:
            os.close(fd)
    try:
        thread._run(function, args)
    finally:
        _names.pop(ident, None)


_names: dict[int, str] = {}


def name_of(ident: int) -> str | None:
    """The name of a thread that was started here and still runs, or that was given one."""
    return _names.get(ident)


def name_this_thread(name: str) -> None:
    """Say how the calling thread is called; for one that was not started here."""
    _names[get_ident()] = name


def get_ident() -> int:
    """The ident of the calling thread, and not that of a greenlet in it."""
    return cast("int", original("_thread", "get_ident")())


def lock() -> _thread.LockType:
    """Return a lock of the operating system. Whoever waits for it blocks its whole thread."""
    return cast("_thread.LockType", original("_thread", "allocate_lock")())


def rlock() -> _thread.RLock:
    """Return a lock that its owner may take again: a signal handler, in the middle of the first."""
    return cast("_thread.RLock", original("_thread", "RLock")())


def epoll() -> select.epoll:
    """Return a new epoll object (epoll(7)), closed over exec."""
    return cast("select.epoll", original("select", "epoll")())


def sleep(seconds: float) -> None:
    """Block the whole calling thread for `seconds`."""
    original("time", "sleep")(seconds)


def socket(family: int, kind: int, *, fileno: int | None = None) -> socket_module.socket:
    """Return a socket of the original class, non-blocking and closed over exec.

    Of its methods `accept`, `dup` and `makefile` must not be used: they build what they return from
    the patched module's names.
    """
    made = cast("socket_module.socket", original("socket", "socket")(family, kind, 0, fileno))
    made.setblocking(False)
    return made


def accept(listener: socket_module.socket) -> socket_module.socket | None:
    """Return the next connection of a socket made by `socket()`, or None if there is none now.

    Raises:
        OSError: the process is out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM).
    """
    while True:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ECONNABORTED:  # the client left while it was queued
                continue
            raise
        return socket(listener.family, listener.type, fileno=fd)


def socketpair() -> tuple[socket_module.socket, socket_module.socket]:
    """Return two connected stream sockets of the original class, both non-blocking."""
    # The C class under both the original's and gevent's: the pair never exists as patched objects.
    pair = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    one, other = (socket(_socket.AF_UNIX, _socket.SOCK_STREAM, fileno=end.detach()) for end in pair)
    return one, other
