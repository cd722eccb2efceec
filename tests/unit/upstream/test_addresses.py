"""Which addresses and URLs a stranger may make the gateway call."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.addresses import WEB_PORTS, is_public, is_remote, next_hop, picture_url

WHERE = "messages[0].content[0].image_url.url"

INNER = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INNER)
def test_p11_addresses_of_the_machine_its_network_and_its_cloud_are_not_public(address):
    """P11: whatever only this machine can reach is out of reach, in IPv4, IPv6 and IPv4 inside IPv6."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "168.63.129.17",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::200e",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_of_the_internet_are_public(address):
    """What lies just outside the special ranges is public, and so is what stands for a public IPv4 address."""
    assert is_public(ip_address(address))


RANGES = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
    ("168.63.129.16", "168.63.129.16"),
    ("64:ff9b::1:808:808", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
]


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_p11_ranges_of_inner_addresses_are_closed_from_end_to_end(first, last):
    """P11: first and last of each range are refused, and what lies before and behind it is public or another range's."""
    low, high = ip_address(first), ip_address(last)
    assert not is_public(low)
    assert not is_public(high)
    ends = {int(ip_address(one)) for pair in RANGES for one in pair if ip_address(one).version == low.version}
    lowest = 1 << 125 if low.version == 6 else 0
    highest = (1 << 126) - 1 if low.version == 6 else (1 << 32) - 1
    for beside in (int(low) - 1, int(high) + 1):
        if lowest <= beside <= highest:
            assert is_public(type(low)(beside)) or beside in ends


@given(st.ip_addresses())
def test_p11_nothing_is_public_that_the_standard_library_calls_inner(address):
    """P11: our list is at least as strict as the standard library's."""
    if is_public(address) and not _holds_v4(address):
        inner = ("private", "loopback", "link_local", "multicast", "unspecified", "reserved")
        assert address.is_global
        assert [name for name in inner if getattr(address, f"is_{name}")] == []


def _holds_v4(address):
    return address.version == 6 and int(address) >> 32 in (0xFFFF, 0x64FF9B << 64)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
def test_p11_an_address_inside_another_is_judged_by_itself(inner, prefix):
    """P11: IPv4-mapped and NAT64 addresses are as public as the IPv4 address that would be dialled."""
    assert is_public(IPv6Address(int(IPv6Address(prefix)) | int(inner))) == is_public(inner)


@given(st.ip_addresses(v=4))
def test_p11_tunnels_are_never_public(inner):
    """P11: 6to4 and Teredo addresses, which lead to an IPv4 address of the caller's choice, are all refused."""
    assert not is_public(IPv6Address(0x2002 << 112 | int(inner) << 80 | 1))
    assert not is_public(IPv6Address(0x20010000 << 96 | int(inner) ^ 0xFFFF_FFFF))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https:///a.png", "full http"),
        ("https://", "full http"),
        ("http:a.png", "full http"),
        ("//example.com/a.png", "full http"),
        ("ftp://example.com/a.png", "full http"),
        ("file:///etc/passwd", "full http"),
        ("https://[::1/a.png", "malformed"),
        ("https://[]@/a.png", "malformed"),
        ("https://exa\0mple.com/", "malformed"),
        ("https://example.com /", "malformed"),
        ("https://example.com:99999/", "malformed"),
        ("https://example.com\\@127.0.0.1/", "malformed"),
        ("https://u:p@example.com/", "user name"),
        ("https://u@example.com/", "user name"),
        ("https://:p@example.com/", "user name"),
        ("http://example.com:8080/", "80 and 443"),
        ("http://example.com:22/", "80 and 443"),
        ("http://example.com:0/", "80 and 443"),
        ("https://example.com/" + "a" * 8192, "longer than 8192"),
    ],
)
def test_p11_urls_that_are_no_plain_web_addresses_are_refused(url, told):
    """P11: other schemes, ports, passwords and malformed URLs are a 400 that says why and names the place."""
    with pytest.raises(Fault, match=told) as caught:
        picture_url(url, WHERE, WEB_PORTS)
    assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST
    assert caught.value.param == WHERE
    assert "data URL" in caught.value.message


def test_a_url_keeps_its_spelling():
    """Storage services sign the very bytes of a URL, so only one that is out of order is put in order."""
    signed = "https://example.com/a/../b%20c?sig=a%2Fb%3d&x=%7E"
    assert str(picture_url(signed, WHERE, WEB_PORTS)) == signed
    assert str(next_hop(yarl.URL("https://other.example/"), signed, WHERE, WEB_PORTS)) == signed
    assert str(picture_url("https://example.com/a b?ä", WHERE, WEB_PORTS)) == "https://example.com/a%20b?%C3%A4"


@pytest.mark.parametrize("url", ["http://example.com/a", "HTTPS://Example.COM:443/a?b=c#d", "https://münchen.de/ä"])
def test_web_addresses_are_taken(url):
    """Any http or https URL on its own port is fit to be called, if its address is."""
    assert picture_url(url, WHERE, WEB_PORTS).scheme in ("http", "https")


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("/b.png", "https://example.com/b.png"),
        ("b.png?x", "https://example.com/a/b.png?x"),
        ("//other.example/c", "https://other.example/c"),
        ("https://other.example/", "https://other.example/"),
    ],
)
def test_a_redirect_is_read_against_the_url_it_came_from(location, leads):
    """Relative and absolute targets mean what RFC 3986 says."""
    assert str(next_hop(yarl.URL("https://example.com/a/x"), location, WHERE, WEB_PORTS)) == leads


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://example.com:8443/",
        "https://[::",
        "//[]@",
        "https://u:p@example.com/",
        "data:image/png;base64,AAAA",
        "https://exa\udcffmple.com/",
    ],
)
def test_p11_a_redirect_must_not_lead_where_a_request_must_not(location):
    """P11: the target of a redirect keeps all rules of a URL, and does not fall from https to http."""
    with pytest.raises(Fault) as caught:
        next_hop(yarl.URL("https://example.com/"), location, WHERE, WEB_PORTS)
    assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST
    assert caught.value.param == WHERE


@given(st.text() | st.text("ah/:@[]1890.%?#\\"))
def test_p11_any_text_is_a_url_or_a_fault(text):
    """P11: no text makes the reading of a URL fail in another way."""
    for read in (
        lambda: picture_url(text, WHERE, WEB_PORTS),
        lambda: picture_url("http://" + text, WHERE, WEB_PORTS),
        lambda: next_hop(yarl.URL("http://example.com/"), text, WHERE, WEB_PORTS),
    ):
        try:
            url = read()
        except Fault:
            continue
        assert url.scheme in ("http", "https")
        assert url.port in WEB_PORTS


def test_only_web_schemes_are_remote():
    """Letter case does not matter; everything else is not fetched."""
    assert is_remote("http://a")
    assert is_remote("HTTPS://a")
    assert not is_remote("data:image/png;base64,")
    assert not is_remote("file:///a")
    assert not is_remote("https:/a")


def test_the_loopback_network_is_wide():
    """Each of the sixteen million addresses of 127.0.0.0/8 is this machine."""
    assert not any(is_public(IPv4Address(0x7F00_0000 + offset)) for offset in range(0, 1 << 24, 65_537))
