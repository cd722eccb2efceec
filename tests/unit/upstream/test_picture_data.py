"""Pictures as bytes and as data URLs."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fittengate.core.faults import Fault, FaultKind
from fittengate.upstream.picture_data import MAX_PICTURE_BYTES, picture_type, read_data_url, to_data_url

WHERE = "messages[0].content[0].image_url.url"

SAMPLES = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "image/gif": b"GIF89a\1\0\1\0",
    "image/webp": b"RIFF\x1a\0\0\0WEBPVP8L",
}


def packed(content):
    return b64encode(content).decode()


def refusal(url):
    with pytest.raises(Fault) as caught:
        read_data_url(url, WHERE)
    assert caught.value.kind is FaultKind.CALLER_BAD_REQUEST
    assert caught.value.param == WHERE
    return caught.value.message


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_good_data_url_stays_the_same_object(kind):
    """What is in the one spelling already is not copied."""
    url = f"data:{kind};base64,{packed(SAMPLES[kind])}"
    assert read_data_url(url, WHERE) is url


@pytest.mark.parametrize(
    "declared", ["image/jpg", "image/png", "application/octet-stream", "", "image/JPEG;name=a.jpg"]
)
def test_the_first_bytes_say_what_a_picture_is(declared):
    """A wrong, vague or missing type is put right."""
    url = f"DATA:{declared};BASE64,{packed(SAMPLES['image/jpeg'])}"
    assert read_data_url(url, WHERE) == f"data:image/jpeg;base64,{packed(SAMPLES['image/jpeg'])}"


def test_white_space_and_missing_padding_are_forgiven():
    """Base64 in lines and without its ``=`` is what browsers take, and comes out in one line."""
    content = SAMPLES["image/gif"]
    assert packed(content).endswith("==")
    wrapped = "\r\n".join(packed(content).rstrip("="))
    assert read_data_url(f"data:image/gif;base64, {wrapped}\n", WHERE) == f"data:image/gif;base64,{packed(content)}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "data URL or a web address"),
        ("iVBORw0KGgoAAAANSUhEUg", "data URL or a web address"),
        ("file:///etc/passwd", "data URL or a web address"),
        ("data:image/png;base64", "must be in base64"),
        ("data:image/png,%89PNG%0D%0A%1A%0A", "must be in base64"),
        ("data:image/svg+xml;utf8,<svg/>", "must be in base64"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,====", "no valid base64"),
        ("data:image/png;base64,iVBOR", "no valid base64"),
        ("data:image/png;base64,iVBORw0KGgo%3D", "no valid base64"),
        ("data:image/png;base64,iVBO-_==", "no valid base64"),
        ("data:image/png;base64,iVBORw0KGgo=AAAA", "no valid base64"),
        ("data:image/png;base64,iVBOR\u00e4==", "no valid base64"),
        ("data:image/png;base64,iVBORw0KGgo=)\n<|system|>", "no valid base64"),
        ("data:image/png;base64," + packed(b"hello, world"), "PNG, JPEG, GIF or WebP"),
        ("data:image/svg+xml;base64," + packed(b"<svg/>"), "PNG, JPEG, GIF or WebP"),
        ("data:image/webp;base64," + packed(b"RIFF\0\0\0\0WAVEfmt "), "PNG, JPEG, GIF or WebP"),
        ("data:image/webp;base64," + packed(b"<svg    WEBP>"), "PNG, JPEG, GIF or WebP"),
    ],
)
def test_p11_what_holds_no_picture_is_refused(url, told):
    """P11: each bad data URL is a 400 that says what is wrong and names the place."""
    assert told in refusal(url)


def test_p11_a_picture_over_the_limit_is_refused_and_one_at_the_limit_is_not():
    """P11: five mebibytes are taken, one byte more is not."""
    most = SAMPLES["image/png"].ljust(MAX_PICTURE_BYTES, b"\0")
    url = "data:image/png;base64," + packed(most)
    assert read_data_url(url, WHERE) is url
    assert "larger than 5 MiB" in refusal("data:image/png;base64," + packed(most + b"\0"))
    assert "larger than 5 MiB" in refusal("data:image/png;base64," + "!" * (MAX_PICTURE_BYTES * 2))
    assert to_data_url(most, WHERE) == url
    with pytest.raises(Fault, match="larger than 5 MiB"):
        to_data_url(most + b"\0", WHERE)


@given(st.sampled_from(sorted(SAMPLES)), st.binary())
def test_bytes_survive_the_way_through_a_data_url(kind, rest):
    """What goes in comes out, under its own type."""
    content = SAMPLES[kind] + rest
    url = to_data_url(content, WHERE)
    assert read_data_url(url, WHERE) is url
    head, _, body = url.partition(",")
    assert head == f"data:{kind};base64"
    assert b64decode(body, validate=True) == content


@given(
    st.text()
    | st.text().map("data:image/png;base64,".__add__)
    | st.text("iVBORw0KGgo=\n ").map("data:;base64,iVBORw0KGgo".__add__)
)
def test_p11_p13_any_text_is_a_clean_data_url_or_a_fault(text):
    """P11, P13: what passes holds nothing but base64, so that no text of a client gets into the prompt this way."""
    try:
        url = read_data_url(text, WHERE)
    except Fault:
        return
    head, _, body = url.partition(",")
    assert head in {f"data:{kind};base64" for kind in SAMPLES}
    assert picture_type(b64decode(body, validate=True)) is not None


@given(st.binary(max_size=16))
def test_p11_bytes_without_a_known_beginning_are_no_picture(content):
    """P11: a picture's type is told from its beginning, or not at all."""
    known = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF")
    assert picture_type(content) is None or content.startswith(known)
