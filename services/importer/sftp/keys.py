"""Read the keys on both sides: the server's pinned host key, and the private key of a login."""

from __future__ import annotations

import base64
import binascii
import io
import re

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from paramiko.pkey import UnknownKeyType

from services.importer.errors import HostKeyMissingError, LoginFailedError

_PINNED = re.compile(r"(?:^|\s)((?:ssh|ecdsa)-[a-z0-9-]+)\s+([A-Za-z0-9+/]+={0,2})(?:\s|$)")


def pinned_key(host_key: str) -> paramiko.PKey:
    """Read the pinned host key. Raises HostKeyMissingError when there is none that can be read."""
    found = _PINNED.search(host_key)
    if found is None:
        raise HostKeyMissingError
    try:
        return paramiko.PKey.from_type_string(found[1], base64.b64decode(found[2]))
    except (UnknownKeyType, paramiko.SSHException, binascii.Error, ValueError) as error:
        raise HostKeyMissingError from error


def line_of(host_key: paramiko.PKey) -> str:
    """Write a host key as it is pinned: `ssh-ed25519 AAAA…`."""
    return f"{host_key.get_name()} {host_key.get_base64()}"


def fingerprint_of(host_key: paramiko.PKey) -> str:
    """Write what people compare: `ssh-ed25519 SHA256:…`."""
    return f"{host_key.get_name()} {host_key.fingerprint}"


def private_key(text: str) -> paramiko.PKey:
    """Read a private key in OpenSSH's form or any PEM form, PKCS#8 too.

    Raises LoginFailedError when it is none, of a kind that SSH servers no longer take, or locked with a passphrase.
    """
    data = f"{text.strip()}\n".encode()
    is_openssh = b"BEGIN OPENSSH" in data
    try:
        key = load_ssh_private_key(data, None) if is_openssh else load_pem_private_key(data, None)
        if isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            return _for_paramiko(key)
    except TypeError as error:  # what cryptography says of a locked PEM key
        raise LoginFailedError(because="key_locked") from error
    except (ValueError, UnsupportedAlgorithm, paramiko.SSHException) as error:
        is_locked = "encrypted" in str(error) or "password" in str(error)
        raise LoginFailedError(because="key_locked" if is_locked else "key_unreadable") from error
    raise LoginFailedError(because="key_unreadable")


def _for_paramiko(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> paramiko.PKey:
    text = io.StringIO(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode())
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey.from_private_key(text)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey.from_private_key(text)
    return paramiko.Ed25519Key.from_private_key(text)
