"""The trusted certificate authorities: the system's, for both clients that connect to the Hub.

Also the client certificate that both present to a server that requests one, as a mirror may.
"""

import os
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pycurl

CERTIFICATE, KEY = "DEPOT_HUB_CLIENT_CERTIFICATE", "DEPOT_HUB_CLIENT_KEY"
"""Environment variables with the files of the client certificate and its key."""
_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
)
"""Where systems keep the authorities, for a Python or libcurl that was built to look in another place."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """A file and a folder of certificates, each optional, and the same as an SSL context for Python's client.

    `own` are the files of the client certificate and its key.
    """

    file: str | None
    folder: str | None
    context: ssl.SSLContext
    own: tuple[str, str] | None

    @classmethod
    def of_the_system(cls) -> Self:
        """Find them by SSL_CERT_FILE and SSL_CERT_DIR, where Python's OpenSSL looks, or in `_PLACES`."""
        context = ssl.create_default_context()
        paths = ssl.get_default_verify_paths()
        file: str | None = paths.cafile
        folder: str | None = paths.capath
        if not file and not (folder and _holds_something(folder)):
            file = next((place for place in _PLACES if Path(place).is_file()), None)
            if file:
                context.load_verify_locations(file)
        own = os.environ.get(CERTIFICATE, ""), os.environ.get(KEY, "") or os.environ.get(CERTIFICATE, "")
        if own[0]:
            show(context, *own)
        return cls(file, folder, context, own if own[0] else None)

    def trust(self, curl: pycurl.Curl) -> None:
        """Make a handle trust only these; the path built into a wheel is right on one system only."""
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
        if self.own:
            curl.setopt(pycurl.SSLCERT, self.own[0])
            curl.setopt(pycurl.SSLKEY, self.own[1])
        if sys.platform == "win32":
            curl.setopt(pycurl.SSL_OPTIONS, pycurl.SSLOPT_NATIVE_CA)


def show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Make `context` present this certificate on request. Raises `OSError`, also for a key with a password."""
    context.load_cert_chain(certificate, key or None, password=lambda: "")


def _holds_something(folder: str) -> bool:
    try:
        return any(Path(folder).iterdir())
    except OSError:
        return False
