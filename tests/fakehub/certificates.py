"""TLS for a Hub on loopback."""

import ssl
from pathlib import Path

import trustme


class Certificates:
    """A certificate of this machine; in files: `pem`, it and its key, and `trust`, the authority that issued it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued = authority.issue_cert("127.0.0.1", "localhost", "::1")
        issued.configure_cert(self.tls)
        self.pem = str(folder / "server.pem")
        issued.private_key_and_cert_chain_pem.write_to_path(self.pem)
        self.trust = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.trust)
