"""Secrets at rest open with the right key and in the right place only."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from services.directory.store.seal import Seal

SEAL = Seal(bytes(32))


@given(secret=st.binary(), place=st.text())
def test_what_was_sealed_opens_in_its_place(secret, place):
    sealed = SEAL.close_up(secret, belongs_to=place)
    assert SEAL.open(sealed, belongs_to=place) == secret
    assert sealed != SEAL.close_up(secret, belongs_to=place)


@pytest.mark.parametrize("how", [(SEAL, "there"), (Seal(bytes(range(32))), "here")])
def test_it_opens_neither_elsewhere_nor_with_another_key(how):
    seal, place = how
    with pytest.raises(InvalidTag):
        seal.open(SEAL.close_up(b"secret", belongs_to="here"), belongs_to=place)


def test_a_changed_byte_is_noticed():
    sealed = bytearray(SEAL.close_up(b"secret", belongs_to="here"))
    sealed[-1] ^= 1
    with pytest.raises(InvalidTag):
        SEAL.open(bytes(sealed), belongs_to="here")
