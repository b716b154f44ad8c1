"""See that a private key for a customer's SFTP server can be used, before it is sealed away."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from services.directory.rules.checks import InvalidValueError

_USABLE = (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)


def check_private_key(text: str) -> None:
    """Refuse what is no private key in OpenSSH or PEM form, is locked with a passphrase, or of an old kind."""
    data = f"{text.strip()}\n".encode()
    if data.startswith(b"PuTTY-User-Key-File"):
        raise InvalidValueError("is PuTTY's own form: export it as an OpenSSH key (PuTTYgen, Conversions)")
    if not data.startswith(b"-----BEGIN "):
        raise InvalidValueError("must be a private key in OpenSSH or PEM form")
    is_openssh = b"BEGIN OPENSSH" in data
    try:
        key = load_ssh_private_key(data, None) if is_openssh else load_pem_private_key(data, None)
    except TypeError:  # what cryptography says of a locked key
        raise InvalidValueError("is locked with a passphrase: give one without (ssh-keygen -p -f KEY)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidValueError("cannot be read: it must be a private key in OpenSSH or PEM form") from None
    if not isinstance(key, _USABLE):
        raise InvalidValueError("must be an ed25519, RSA or ECDSA key")
