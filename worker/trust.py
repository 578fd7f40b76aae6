"""The certificate authorities that are trusted: the system's, by both of the clients that speak to the Hub."""

import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pycurl

_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
)
"""Where systems keep them, for a Python or a libcurl that was built elsewhere and looks in another place."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """A file and a folder of certificates, either of which may lack, and the same for Python's own client."""

    file: str | None
    folder: str | None
    context: ssl.SSLContext

    @classmethod
    def of_the_system(cls) -> Self:
        """By SSL_CERT_FILE and SSL_CERT_DIR, where Python's OpenSSL looks, or where this system keeps them."""
        context = ssl.create_default_context()
        paths = ssl.get_default_verify_paths()
        file: str | None = paths.cafile
        folder: str | None = paths.capath
        if not file and not (folder and _holds_something(folder)):
            file = next((place for place in _PLACES if Path(place).is_file()), None)
            if file:
                context.load_verify_locations(file)
        return cls(file, folder, context)

    def trust(self, curl: pycurl.Curl) -> None:
        """Have a handle trust these and no others; a wheel's own path is right on one system only."""
        for option, place in (
            (pycurl.CAINFO, self.file),
            (pycurl.CAPATH, self.folder),
            (pycurl.PROXY_CAINFO, self.file),
            (pycurl.PROXY_CAPATH, self.folder),
        ):
            if place:
                curl.setopt(option, place)
            else:
                curl.unsetopt(option)
        if sys.platform == "win32":
            curl.setopt(pycurl.SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)


def _holds_something(folder: str) -> bool:
    try:
        return any(Path(folder).iterdir())
    except OSError:
        return False
