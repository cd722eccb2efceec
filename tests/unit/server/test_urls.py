"""Which URLs settings may have, and which hosts are this machine or no proxy's business."""

import pytest

from fittengate.server.urls import bypassed, fleet_url, loopback, proxy_url, service_url

ODD = [
    "http://a b",
    "http://a\x00b",
    "http://a\x7f",
    "http://\u4f60\u597d",
    "http://",
    "http://:80",
    "http://a:0",
    "http://a:x",
    "",
]


@pytest.mark.parametrize(
    "text", [*ODD, "ftp://a", "a", "http://u@a", "http://a?b", "http://a/#b", 'http://a/"', "http://a\\b"]
)
def test_what_is_no_plain_url_of_a_service_is_refused(text):
    """Nor one with a user name, a query or a fragment: nothing of those is ever sent."""
    with pytest.raises(ValueError):
        service_url(text)


@pytest.mark.parametrize("text", [*ODD, "socks5://a:1", "ftp://a", "//"])
def test_what_is_no_url_of_an_http_proxy_is_refused(text):
    """Other kinds of proxies are not spoken to."""
    with pytest.raises(ValueError):
        proxy_url(text)


def test_urls_go_on_in_one_spelling():
    """Without blanks around them, without a path's last slash; a proxy's scheme may be left out."""
    assert service_url(" https://Fc.Example/Path// ") == "https://fc.example/Path"
    assert service_url("http://[::1]:8080") == "http://[::1]:8080"
    assert proxy_url(" proxy:3128 ") == "http://proxy:3128"
    assert proxy_url("https://u:p@proxy:3128/") == "https://u:p@proxy:3128"


@pytest.mark.parametrize(
    "text",
    [
        *(one.replace("http://", "redis://") for one in ODD),
        *("http://a", "redis://a/x", "redis://a/0#b", "redis://a/0?ssl_ca_certs=f", "rediss://a?socket_timeout=1"),
        *("rediss://a?ssl_ca_certs", "rediss://a?ssl_cert_reqs=none", "rediss://a?ssl_ca_certs=f&db=2"),
    ],
)
def test_what_is_no_url_of_a_fleets_server_is_refused(text):
    """Of what may stand behind the ``?`` only whom to trust and what to show: checks of certificates stay on."""
    with pytest.raises(ValueError):
        fleet_url(text)


@pytest.mark.parametrize(
    "text",
    ["redis://a", "redis://u:p@a:6379/", "redis://a/2", "rediss://a/0?ssl_ca_certs=f&ssl_keyfile=k&ssl_certfile="],
)
def test_the_url_of_a_fleets_server_goes_on_as_it_stands(text):
    """What is in it is redis-py's to read."""
    assert fleet_url(f" {text} ") == text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LocalHost", "localhost."])
def test_this_machine_is_known_by_its_own_addresses(host):
    """A gateway that listens there alone needs no key that somebody chose."""
    assert loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "notlocalhost", "127.0.0.1.example", ""]
)
def test_anything_else_is_not_this_machine(host):
    """Names that only look like it, and every address at once."""
    assert not loopback(host)


@pytest.mark.parametrize(
    ("no_proxy", "host", "covered"),
    [
        ("*", "a.example", True),
        ("a.example", "a.example", True),
        ("A.Example, b", "a.example", True),
        ("example", "a.example", True),
        (".example", "a.example", True),
        ("*.example", "a.example", True),
        ("example", "aexample", False),
        ("a.example", "b.a.example.com", False),
        ("a.example:80", "a.example", True),
        ("a.example:81", "a.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "a.example", False),
        ("10.0.0.0/x", "10.1.2.3", False),
        ("::1", "::1", True),
        ("[::1]:80", "::1", True),
        ("fd00::/8", "fd00::1", True),
        ("", "a.example", False),
        (".", "a.example", False),
    ],
)
def test_hosts_that_no_proxy_is_for(no_proxy, host, covered):
    """Names and what is below them, addresses, networks, each perhaps with a port; what is none of these covers nothing."""
    assert bypassed(host, 80, no_proxy) is covered
