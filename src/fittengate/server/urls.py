"""URLs in settings: which are taken, and in which spelling they go on; and which hosts a proxy is not for."""

from urllib.parse import parse_qsl, urlsplit

from fittengate.server.sources import items

SERVICE_FORM = "an http:// or https:// URL without user name, query or fragment"

PROXY_FORM = "the URL of an HTTP proxy: http://host:port"

FLEET_FORM = (
    "the URL of a Valkey or Redis: redis://host:port, or rediss://host:port, perhaps with ?ssl_ca_certs=FILE "
    "(ssl_certfile, ssl_keyfile)"
)

_FLEET_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""What may follow the `?` of a rediss:// URL: whom to trust, and what to show. Whatever else redis-py would take from
there is ours to set, or a word that it stumbles over with the first request."""


def service_url(text: str) -> str:
    """Return the URL in one spelling, without a slash at its end. Raises ValueError."""
    text = text.strip()
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' ?#@\\"<>')
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def proxy_url(text: str) -> str:
    """Return the URL of a proxy; ``host:port`` alone means http, as with other programs. Raises ValueError."""
    text = text.strip()
    parts = urlsplit(text if "://" in text else f"http://{text}")
    plain = text.isascii() and text.isprintable() and " " not in text
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc}"


def fleet_url(text: str) -> str:
    """Return the URL of a fleet's server as it stands. Raises ValueError."""
    text = text.strip()
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and " " not in text
    if not plain or parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.port == 0:
        raise ValueError
    if parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise ValueError
    options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if parts.fragment or (options and parts.scheme != "rediss") or not _FLEET_OPTIONS.issuperset(dict(options)):
        raise ValueError
    return text


def loopback(host: str) -> bool:
    """Tell whether a host is this machine: by an address of its own, or as ``localhost``."""
    import ipaddress

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def bypassed(host: str, port: int, no_proxy: str) -> bool:
    """Tell whether NO_PROXY covers a host: ``*``, names, their subdomains, addresses, networks; a port may follow."""
    return any(_covers(item, host, port) for item in items(no_proxy.lower()))


def _covers(item: str, host: str, port: int) -> bool:
    import ipaddress

    name, colon, digits = item.rpartition(":")
    if colon and (":" not in name or name.endswith("]")) and digits.isdigit():
        if int(digits) != port:
            return False
        item = name
    item = item.removeprefix("*.").strip("[]").lstrip(".")
    if item in {"*", host} or (item and host.endswith("." + item)):
        return True
    try:
        return "/" in item and ipaddress.ip_address(host) in ipaddress.ip_network(item, strict=False)
    except ValueError:
        return False
