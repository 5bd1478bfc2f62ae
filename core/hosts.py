"""Recognise host names and addresses that refer to this machine."""

from __future__ import annotations

import ipaddress


def is_this_machine(host: str) -> bool:
    """Return whether a host is this machine: ``localhost``, or a loopback address such as ``127.0.0.1`` or ``::1``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
