"""Tokens: what signs, what verifies, and everything that must not."""

import hmac
import os
import string
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from subscribers.tokens import LENGTH, NOBODY, Keyring, Mac, Purpose, Signed

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
KEY = b"k" * 32
RING = Keyring([KEY])
IDS = st.integers(min_value=0, max_value=2**64 - 1)
VERSIONS = st.integers(min_value=0, max_value=2**16 - 1)
URL_SAFE = set(string.ascii_letters + string.digits + "-_")


def key(number: int) -> bytes:
    return bytes([number]) * 32


@settings(max_examples=EXAMPLES)
@given(purpose=st.sampled_from(Purpose), subscriber_id=IDS, version=VERSIONS)
@example(purpose=Purpose.LEAVE, subscriber_id=2**64 - 1, version=2**16 - 1)
def test_a_token_says_what_was_signed_in_36_url_safe_characters(
    purpose: Purpose, subscriber_id: int, version: int
) -> None:
    """T-1."""
    token = RING.sign(purpose, subscriber_id, version)

    assert len(token) == LENGTH == 36
    assert set(token) <= URL_SAFE
    assert RING.read(purpose, token) == Signed(subscriber_id, version)


@pytest.mark.parametrize("length", [1, 32, 63, 64, 65, 200])
def test_a_mac_that_is_begun_once_is_the_library_s(length: int) -> None:
    key = bytes(range(length))
    mac = Mac(key, b"begun")
    for rest in (b"", b"one", b"x" * 200):
        assert mac.of(rest) == hmac.digest(key, b"begun" + rest, "sha256")


@pytest.mark.parametrize(("made_for", "read_as"), list(product(Purpose, Purpose)))
def test_a_token_works_for_its_own_purpose_only(made_for: Purpose, read_as: Purpose) -> None:
    """T-2, the full cross matrix."""
    token = RING.sign(made_for, 7, 3)

    assert RING.read(read_as, token) == (Signed(7, 3) if made_for is read_as else None)


def test_a_form_s_stamp_is_worthless_for_everything_else_and_nothing_else_is_a_stamp() -> None:
    """T-2, U-8: its number is a time, and would be somebody's id; a visitor gets one for the asking."""
    seconds = 1_443_679_200
    stamp = RING.sign(Purpose.FORM, seconds)
    others = [purpose for purpose in Purpose if purpose is not Purpose.FORM]

    assert RING.read(Purpose.FORM, stamp) == Signed(seconds, 0)
    assert [RING.read(purpose, stamp) for purpose in others] == [None] * 4
    assert [RING.read(Purpose.FORM, RING.sign(purpose, seconds)) for purpose in others] == [None] * 4


def test_every_purpose_signs_differently() -> None:
    """T-2: the purpose is inside the MAC, and nowhere else."""
    tokens = {RING.sign(purpose, 7, 3) for purpose in Purpose}

    assert len({token[-21:] for token in tokens}) == len(Purpose) == 5
    assert len({token[:14] for token in tokens}) == 1


def test_an_older_version_is_genuine_and_says_which_it_is() -> None:
    """T-3: whoever reads it decides; leaving asks for no version, the preferences for the current one."""
    old = [RING.sign(Purpose.LEAVE, 7, version) for version in range(4)]

    assert [RING.read(Purpose.LEAVE, token) for token in old] == [Signed(7, version) for version in range(4)]
    assert len(set(old)) == 4


def test_tokens_of_five_old_keys_still_verify() -> None:
    """T-4: for every purpose, and after each of the rotations in between."""
    for rotations in range(1, 6):
        ring = Keyring([key(n) for n in range(rotations, -1, -1)])
        for purpose in Purpose:
            old = [Keyring([key(n)]).sign(purpose, n, n) for n in range(rotations)]
            assert [ring.read(purpose, token) for token in old] == [Signed(n, n) for n in range(rotations)]


def test_the_first_key_signs_and_a_key_that_was_taken_away_verifies_nothing() -> None:
    """T-4."""
    rotated = Keyring([key(1), key(2)])
    token = rotated.sign(Purpose.LEAVE, 7)

    assert token == Keyring([key(1)]).sign(Purpose.LEAVE, 7)
    assert Keyring([key(2)]).read(Purpose.LEAVE, token) is None


def test_two_keys_with_the_same_key_id_both_verify() -> None:
    """T-4: the id has one byte."""
    first = key(0)
    opening = Keyring([first]).sign(Purpose.LEAVE, 7)[:2]
    others = (number.to_bytes(32, "big") for number in range(1, 3000))
    twin = next(other for other in others if Keyring([other]).sign(Purpose.LEAVE, 7)[:2] == opening)

    token = Keyring([twin]).sign(Purpose.LEAVE, 7)

    assert Keyring([first, twin]).read(Purpose.LEAVE, token) == Signed(7, 0)


def test_one_changed_character_anywhere_makes_a_token_worthless() -> None:
    """T-6."""
    token = RING.sign(Purpose.ONE_CLICK, 12345, 6)

    for place in range(LENGTH):
        for other in URL_SAFE - {token[place]}:
            forged = token[:place] + other + token[place + 1 :]
            assert RING.read(Purpose.ONE_CLICK, forged) is None


@settings(max_examples=EXAMPLES)
@given(st.one_of(st.text(), st.text(alphabet=sorted(URL_SAFE), min_size=36, max_size=36)))
@example("")
@example("A" * 36)
@example("١" * 36)
def test_what_nobody_signed_is_not_a_token(text: str) -> None:
    """T-6: None, never an exception."""
    assert RING.read(Purpose.LEAVE, text) is None


@pytest.mark.parametrize("wrap", ["{}=", "{}\n", " {}", "{}.", "{}A", "<{}>"])
def test_a_token_with_something_around_it_is_none(wrap: str) -> None:
    token = RING.sign(Purpose.LEAVE, 7)

    assert RING.read(Purpose.LEAVE, wrap.format(token)) is None
    assert RING.read(Purpose.LEAVE, token[:-1]) is None


def test_a_sample_is_genuine_and_belongs_to_nobody() -> None:
    """H-7: a test letter's links lead to the pages and unsubscribe nobody."""
    token = RING.sign(Purpose.LEAVE, NOBODY)

    signed = RING.read(Purpose.LEAVE, token)

    assert signed is not None
    assert signed.subscriber_id == NOBODY


@pytest.mark.parametrize("keys", [[], [b""], [b"k" * 31], [KEY, b"short"]])
def test_no_key_or_a_short_key_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        Keyring(keys)


@pytest.mark.parametrize(("subscriber_id", "version"), [(-1, 0), (2**64, 0), (1, -1), (1, 2**16)])
def test_numbers_that_do_not_fit_are_refused(subscriber_id: int, version: int) -> None:
    with pytest.raises(ValueError, match="no token"):
        RING.sign(Purpose.LEAVE, subscriber_id, version)


def test_a_keyring_does_not_show_its_keys() -> None:
    """S-15."""
    assert KEY.decode() not in repr(RING)
    assert KEY.decode() not in str(RING)
