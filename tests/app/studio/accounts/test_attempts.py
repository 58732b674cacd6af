from __future__ import annotations

import pytest

from app.studio.accounts.attempts import (
    FOR_A_NAME,
    FROM_AN_ADDRESS,
    LOCKED_FOR,
    WINDOW,
    WRONG_BEFORE_LOCK,
    Attempts,
    network_of,
)


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def test_guessing_is_slowed_down_and_ends(clock):
    attempts = Attempts(clock)
    waits = []
    for _ in range(WRONG_BEFORE_LOCK):
        attempts.note_wrong("ann", "10.0.0.1")
        waits.append(attempts.wait("ann", "10.0.0.1"))
        clock.now += waits[-1]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, LOCKED_FOR]
    attempts.note_wrong("ann", "10.0.0.1")
    attempts.note_right("ann", "10.0.0.1")
    assert attempts.wait("ann", "10.0.0.1") == 0


def test_wrong_passwords_are_forgotten_after_a_quiet_time(clock):
    attempts = Attempts(clock)
    for _ in range(4):
        attempts.note_wrong("", "10.0.0.1")
    clock.now += 4 + WINDOW
    attempts.note_wrong("", "10.0.0.1")
    assert attempts.wait("", "10.0.0.1") == 8, "the fifth in a row"
    clock.now += 8 + WINDOW + 1
    attempts.note_wrong("", "10.0.0.1")
    assert attempts.wait("", "10.0.0.1") == 0.5


def test_an_outsider_shuts_nobody_out_who_comes_from_elsewhere(clock):
    attempts = Attempts(clock)
    for _ in range(WRONG_BEFORE_LOCK):
        attempts.note_wrong("ann", "10.0.0.1")
    assert attempts.wait("ann", "10.0.0.1") == LOCKED_FOR
    assert attempts.wait("ann", "10.0.0.2") == 0, "another address"
    assert attempts.wait("ann", "10.0.0.1", "known device") == 0, "the same address, a browser that is known"


def test_one_address_cannot_try_many_names(clock):
    attempts = Attempts(clock)
    tried = 0
    while tried < FOR_A_NAME and not attempts.wait(f"name {tried}", "10.0.0.1"):
        attempts.note_wrong(f"name {tried}", "10.0.0.1")
        tried += 1
    assert tried == FROM_AN_ADDRESS and attempts.wait("another", "10.0.0.1") == WINDOW
    attempts.note_right("mine", "10.0.0.1")
    assert attempts.wait("another", "10.0.0.1") == WINDOW, "an account of one's own buys no guesses"
    assert attempts.wait("another", "10.0.0.2") == 0
    clock.now += WINDOW
    assert attempts.wait("another", "10.0.0.1") == 0


def test_many_addresses_cannot_try_one_name_for_ever(clock):
    attempts = Attempts(clock)
    for number in range(FOR_A_NAME):
        attempts.note_wrong("ann", f"10.0.{number}.1")
    assert attempts.wait("ann", "10.1.0.1") == WINDOW and attempts.wait("bob", "10.1.0.1") == 0
    assert attempts.wait("ann", "10.1.0.1", "known device") == 0


def test_what_counts_as_one_address():
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("fe80::1%eth0") == "fe80::/64" and network_of("") == ""
