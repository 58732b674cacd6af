"""Rate limits for wrong passwords, which cannot lock a person out of a browser that they have used before.

A browser with an earlier login has its own count. Any other client is limited by wrong passwords for this name from its
address, for any name from its address, and for this name from everywhere.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WRONG_BEFORE_LOCK = 10
LOCKED_FOR = 15 * 60.0
LONGEST_DELAY = 60.0
WINDOW = 15 * 60.0
"""Seconds after which a wrong password no longer counts against an address or a name."""
FROM_AN_ADDRESS, FOR_A_NAME, FROM_A_PROXY = 20, 100, 100
"""Limits of wrong passwords per address for all names, per name for all unknown clients, and per untrusted proxy."""
MOST_KEPT = 10_000


@dataclass
class Streak:
    """Wrong passwords in a row."""

    count: int = 0
    until: float = 0.0
    """Time of the next allowed attempt."""


@dataclass
class Window:
    """Times of recent wrong passwords."""

    times: deque[float] = field(default_factory=deque)


class Attempts:
    """Counts wrong passwords in memory. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._streaks: OrderedDict[tuple[str, str], Streak] = OrderedDict()
        self._windows: OrderedDict[tuple[str, str], Window] = OrderedDict()

    def wait(self, name: str, address: str, device: str = "", proxy: str = "") -> float:
        """Seconds until a password for this name from this client is checked again; may be 0.

        `device` is the id of a browser in which this person has logged in before, otherwise "". `proxy` is the address
        of an untrusted proxy that has forwarded the request.
        """
        now = self._clock()
        place = network_of(address)
        with self._lock:
            streak = self._streaks.get((name, device or place))
            waits = [streak.until - now if streak else 0.0]
            if not device:
                waits += [self._until_room(key, most, now) for key, most in _windows(name, place, proxy)]
        return max(0.0, *waits)

    def note_wrong(self, name: str, address: str, device: str = "", proxy: str = "") -> None:
        """Each wrong password doubles the wait; ten in a row lock this name from this client for 15 minutes.

        They are forgotten after 15 more minutes without one.
        """
        now = self._clock()
        place = network_of(address)
        with self._lock:
            streak = self._streaks.setdefault((name, device or place), Streak())
            if now - streak.until > WINDOW:
                streak.count = 0
            streak.count = streak.count % WRONG_BEFORE_LOCK + 1
            delay = (
                LOCKED_FOR if streak.count == WRONG_BEFORE_LOCK else min(LONGEST_DELAY, 2.0 ** (streak.count - 1) / 2)
            )
            streak.until = now + delay
            _keep_newest(self._streaks, (name, device or place))
            if not device:
                for key, most in _windows(name, place, proxy):
                    window = self._windows.setdefault(key, Window())
                    window.times.append(now)
                    while len(window.times) > most:
                        window.times.popleft()
                    _keep_newest(self._windows, key)

    def note_right(self, name: str, address: str, device: str = "") -> None:
        """A correct password resets the client's row, but not the address's limit."""
        with self._lock:
            self._streaks.pop((name, device or network_of(address)), None)

    def _until_room(self, key: tuple[str, str], most: int, now: float) -> float:
        window = self._windows.get(key)
        if window is None or len(window.times) < most:
            return 0.0
        return window.times[0] + WINDOW - now


def _windows(name: str, place: str, proxy: str) -> list[tuple[tuple[str, str], int]]:
    """The keys against which a wrong password of an unknown client counts, with their limits."""
    windows = [(("address", place), FROM_AN_ADDRESS), (("name", name), FOR_A_NAME)]
    return [*windows, (("proxy", proxy), FROM_A_PROXY)] if proxy else windows


def network_of(address: str) -> str:
    """The unit of counting: an IPv4 address, or an IPv6 /64 network, which one household or server owns."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _keep_newest(kept: OrderedDict[tuple[str, str], Any], key: tuple[str, str]) -> None:
    kept.move_to_end(key)
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)
