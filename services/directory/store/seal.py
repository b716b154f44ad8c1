"""Seal secrets at rest with AES-GCM, bound to what they belong to."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Seal:
    """Seals and opens under one 32-byte key; `belongs_to` must be the same in both, or opening raises InvalidTag."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close_up(self, secret: bytes, *, belongs_to: str) -> bytes:
        """Seal a secret; the result begins with its random nonce."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, belongs_to.encode())

    def open(self, sealed: bytes, *, belongs_to: str) -> bytes:
        """Give the secret back."""
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to.encode())
