"""An SFTP server as a customer sees it, whoever runs it: logins, host keys, and files to put and remove."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import paramiko
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_folder_numbers = itertools.count(1)


@dataclass(frozen=True)
class SftpServer:
    """Where it listens, one login with a password and a key of each kind, and its host keys as `TYPE BASE64`."""

    host: str
    port: int
    username: str
    password: str
    login_keys: Mapping[str, LoginKey]
    host_keys: Sequence[str]
    writable_folder: str
    _sessions: list[tuple[paramiko.Transport, paramiko.SFTPClient]] = field(default_factory=list, repr=False)

    def make_folder(self) -> SftpFolder:
        """Make an empty folder of its own for one test."""
        path = f"{self.writable_folder}/{time.time_ns():x}-{next(_folder_numbers)}"
        self.client().mkdir(path)
        return SftpFolder(self, path)

    def client(self) -> paramiko.SFTPClient:
        """Log in as the customer does; the same session each time while it lives."""
        for transport, client in self._sessions:
            if transport.is_active():
                return client
        transport = paramiko.Transport((self.host, self.port))
        try:
            transport.connect(username=self.username, password=self.password)
            opened = paramiko.SFTPClient.from_transport(transport)
            assert opened is not None
        except BaseException:
            transport.close()
            raise
        self._sessions[:] = [(transport, opened)]
        return opened

    def close(self) -> None:
        """End the session."""
        for transport, client in self._sessions:
            client.close()
            transport.close()
        self._sessions.clear()


@dataclass(frozen=True)
class SftpFolder:
    """One folder on the server."""

    server: SftpServer
    path: str

    def path_of(self, name: str) -> str:
        """The absolute path of a file in it."""
        return f"{self.path}/{name}"

    def put(self, name: str, content: bytes, *, age_s: float | None = 3600.0) -> str:
        """Write a file whose mtime lies `age_s` back (None: leave it), and give its path."""
        path = self.path_of(name)
        self.server.client().putfo(io.BytesIO(content), path)
        if age_s is not None:
            then = time.time() - age_s
            self.server.client().utime(path, (then, then))
        return path

    def append(self, name: str, content: bytes) -> None:
        """Write more to a file, as an upload that is still under way."""
        with self.server.client().open(self.path_of(name), "ab") as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.server.client().remove(self.path_of(name))

    def names(self) -> list[str]:
        """What is in it."""
        return sorted(self.server.client().listdir(self.path))

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        with self.server.client().open(self.path_of(name), "rb") as file:
            return file.read()

    def stat(self, name: str) -> paramiko.SFTPAttributes:
        """A file's size and times."""
        return self.server.client().stat(self.path_of(name))


@dataclass(frozen=True)
class LoginKey:
    """A customer's key pair as OpenSSH writes it."""

    private_text: str
    public_line: str


def make_login_keys() -> dict[str, LoginKey]:
    """Make a key pair of each kind: ed25519, rsa, ecdsa."""
    return {
        "ed25519": _login_key(ed25519.Ed25519PrivateKey.generate()),
        "rsa": _login_key(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        "ecdsa": _login_key(ec.generate_private_key(ec.SECP256R1())),
    }


def _login_key(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> LoginKey:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return LoginKey(private.decode(), public.decode())


def authorized_keys(keys: Mapping[str, LoginKey]) -> str:
    """The public keys as an authorized_keys file."""
    return "".join(f"{key.public_line}\n" for key in keys.values())


def host_key_line(public_key: str) -> str:
    """Cut an OpenSSH public key down to type and base64."""
    return " ".join(public_key.split()[:2])
