"""TLS for a Hub on loopback."""

import ssl
from pathlib import Path

import trustme


class Certificates:
    """A certificate of this machine, and `trust`: the file of the authority that issued it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost", "::1").configure_cert(self.tls)
        self.trust = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.trust)
