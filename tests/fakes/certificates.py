"""A certificate that nobody has signed but itself."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """Where it lies, and its key."""

    cert: Path
    key: Path


def self_signed(folder: Path) -> Certificate:
    """Make one for this machine, by either of its names."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    line += ["-addext", names, "-keyout", str(made.key), "-out", str(made.cert)]
    subprocess.run(line, check=True, capture_output=True)
    return made
