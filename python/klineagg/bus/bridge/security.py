"""Who may connect: a shared secret that never travels, and TLS."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from klineagg import errors
from klineagg.bus.bridge.frames import refused

__all__ = ["SECRET_VARIABLE", "Security", "is_loopback"]

#: The environment variable that has the secret.
SECRET_VARIABLE: Final = "KLINEAGG_BRIDGE_SECRET"
_SECRET_BYTES_MIN: Final = 16
_NONCE_BYTES: Final = 32


@dataclass(frozen=True)
class Security:
    """What both sides of a bridge have to agree on.

    Attributes:
        secret: shared by both sides; each proves to the other that it has it, without sending it.
        certificate: file with the certificate chain (PEM): of a server, or of a client.
        key: file with its private key.
        authority: file with the certificates to trust. A server with one wants clients to have a
            certificate; a client with one uses TLS.
    """

    secret: bytes | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None

    @classmethod
    def from_environment(
        cls,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        authority: Path | None = None,
    ) -> Security:
        """With the secret of ``KLINEAGG_BRIDGE_SECRET``, where there is one.

        Raises:
            OptionError: it has less than 16 bytes.
        """
        text = os.environ.get(SECRET_VARIABLE)
        if text is not None and len(text.encode()) < _SECRET_BYTES_MIN:
            reason = f"{SECRET_VARIABLE} has less than {_SECRET_BYTES_MIN} bytes"
            raise errors.make("invalid_option", reason, option=SECRET_VARIABLE)
        secret = None if text is None else text.encode()
        return cls(secret, certificate, key, authority)

    @property
    def is_open(self) -> bool:
        """Whether anybody could connect."""
        return self.secret is None and self.authority is None

    def server_context(self) -> ssl.SSLContext | None:
        """TLS of a server; None without a certificate."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        if self.authority is not None:
            context.load_verify_locations(self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext | None:
        """TLS of a client; None without an authority."""
        if self.authority is None:
            return None
        context = ssl.create_default_context(cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context

    @staticmethod
    def nonce() -> str:
        """Something that was never there before, for a proof."""
        return os.urandom(_NONCE_BYTES).hex()

    def proof(self, side: str, own: str, other: str) -> str:
        """Shows that this side has the secret, for these two nonces only; "" without one."""
        if self.secret is None:
            return ""
        text = f"klineagg-bridge {side} {own} {other}".encode()
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest()

    def check(self, side: str, own: str, other: str, proof: object) -> None:
        """Whether the other side has the secret, too.

        Raises:
            BridgeError: ``bridge_refused``.
        """
        if self.secret is None and proof == "":
            return
        wanted = self.proof(side, own, other)
        if self.secret is None or not hmac.compare_digest(wanted, str(proof)):
            hint = f"give both sides the same {SECRET_VARIABLE}"
            raise refused("the secrets of the two sides differ", hint=hint)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
