"""A private key is looked at before it is sealed: what no night could use is refused with its cure."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from services.directory.rules.checks import InvalidValueError
from services.directory.rules.private_keys import check_private_key

OPENSSH, PKCS8, TRADITIONAL = PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
ED25519 = ed25519.Ed25519PrivateKey.generate()
ECDSA = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LOCKED = OPENSSH.encryption_builder().kdf_rounds(1).build(b"secret")


def written(key, form, locked=None):
    return key.private_bytes(Encoding.PEM, form, locked or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("key", "form"),
    [(ED25519, OPENSSH), (ED25519, PKCS8), (ECDSA, OPENSSH), (ECDSA, TRADITIONAL), (RSA, TRADITIONAL), (RSA, OPENSSH)],
)
def test_each_kind_and_form_of_key_is_taken(key, form):
    check_private_key(written(key, form))
    check_private_key("\r\n" + written(key, form).replace("\n", "\r\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (written(ED25519, OPENSSH, LOCKED), "passphrase"),
        (written(ECDSA, PKCS8, BestAvailableEncryption(b"secret")), "passphrase"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "PuTTY"),
        (ED25519.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), "must be a private key"),
        (ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), "cannot be read"),
        (written(ED25519, OPENSSH)[:150], "cannot be read"),
        (written(ed448.Ed448PrivateKey.generate(), PKCS8), "ed25519, RSA or ECDSA"),
        ("-----BEGIN KEY-----", "cannot be read"),
    ],
    ids=["locked", "locked PKCS8", "PuTTY", "public", "public PEM", "cut off", "another kind", "a beginning alone"],
)
def test_what_no_night_could_use_is_refused_with_its_cure(text, said):
    with pytest.raises(InvalidValueError, match=said) as told:
        check_private_key(text)
    assert "-----" not in str(told.value)
