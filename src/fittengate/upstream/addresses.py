"""Which addresses a stranger may make this gateway call. Pure: it looks nothing up and calls nobody.

A client that names a URL must not reach through the gateway what it cannot reach itself: the machine, its network, or
a cloud's metadata service. The lists are written out instead of asking :mod:`ipaddress`, whose answers differ from one
Python release to the next.
"""

import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

import yarl

from fittengate.core.faults import Fault, FaultKind

Address: TypeAlias = IPv4Address | IPv6Address

WEB_PORTS = frozenset({80, 443})
"""Anything else that answers HTTP is more likely an inner service than a picture."""

MAX_URL_CHARACTERS = 8192
"""As many as web servers commonly take in a request line; signed storage URLs have about 2,000."""

_IN_ORDER = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")
"""The characters of a URL: RFC 3986, section 2."""

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
"""A name, or an address with its zone; control characters must not get into the Host header."""

_MALFORMED = (ValueError, IndexError)
"""What yarl raises for a text that is no URL; IndexError for ``http://[]@`` and its like."""

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        # https://www.iana.org/assignments/iana-ipv4-special-registry
        "0.0.0.0/8",  # this network; Linux takes it for loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers, and used inside clouds
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4, which RFC 7526 ended
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        # Looks public, but is the host agent of every Azure machine:
        # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "168.63.129.16/32",
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given out so far; loopback, unique local, link-local, site-local and multicast lie outside."""

_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        # https://www.iana.org/assignments/iana-ipv6-special-registry
        "2001::/23",  # protocol assignments; Teredo, which hides an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 hides one too
        "3fff::/20",
    )
)

_HOLDS_V4 = (
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped: the system dials the IPv4 address
    IPv6Network("64:ff9b::/96"),  # NAT64: how a network without IPv4 names every IPv4 host (RFC 6052)
)


def is_public(address: Address) -> bool:
    """Return whether ``address`` belongs to the public internet, so that anybody could call it as well."""
    if isinstance(address, IPv6Address):
        if not any(address in network for network in _HOLDS_V4):
            return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_V6)
        address = IPv4Address(int(address) & 0xFFFF_FFFF)
    return not any(address in network for network in _NOT_PUBLIC_V4)


def is_remote(url: str) -> bool:
    """Return whether ``url`` says that it is to be fetched from the web."""
    return url[:8].lower().startswith(("http://", "https://"))


def picture_url(text: str, where: str, ports: Container[int]) -> yarl.URL:
    """Return the URL that ``text`` is. Raises Fault (caller_bad_request) for one that must not be called.

    Its host is not judged here: what counts is the address that is dialled, however the name of the host is spelt.
    """
    if len(text) > MAX_URL_CHARACTERS:
        raise cannot_fetch(f"The URL of the picture is longer than {MAX_URL_CHARACTERS} characters.", where)
    try:
        url = _parsed(text)
    except _MALFORMED as error:
        raise cannot_fetch("The URL of the picture is malformed.", where) from error
    return _checked(url, where, ports)


def next_hop(url: yarl.URL, location: str, where: str, ports: Container[int]) -> yarl.URL:
    """Return where a redirect from ``url`` leads. Raises Fault (caller_bad_request) for where it must not lead."""
    try:
        target = url.join(_parsed(location))
    except _MALFORMED as error:
        raise cannot_fetch("The server of the picture redirects to a malformed URL.", where) from error
    if url.scheme == "https" and target.scheme != "https":
        raise cannot_fetch("The server of the picture redirects from https to an unencrypted URL.", where)
    return _checked(target, where, ports)


def _parsed(text: str) -> yarl.URL:
    # A URL in order stays as it is spelt, because storage services sign the spelling; any other is put in order.
    url = yarl.URL(text, encoded=_IN_ORDER.fullmatch(text) is not None)
    url.port  # noqa: B018 - in the former case the library splits the host only when asked for it
    return url


def _checked(url: yarl.URL, where: str, ports: Container[int]) -> yarl.URL:
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise cannot_fetch("A picture is fetched from a full http or https URL only.", where)
    if _HOST.fullmatch(url.raw_host) is None:
        raise cannot_fetch("The URL of the picture is malformed.", where)
    if url.raw_user is not None or url.raw_password is not None:
        raise cannot_fetch("The URL of a picture must not hold a user name or password.", where)
    if url.port not in ports:
        raise cannot_fetch("A picture is fetched from the usual ports only: 80 and 443.", where)
    return url


def cannot_fetch(message: str, where: str, detail: str | None = None) -> Fault:
    """Return the fault of a picture that is not fetched: what is wrong, and what to do instead."""
    advice = " Name a picture that everybody can fetch, or send it as a data URL."
    return Fault(FaultKind.CALLER_BAD_REQUEST, message + advice, param=where, detail=detail)
