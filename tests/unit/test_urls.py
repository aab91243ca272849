import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.urls import shown, shown_within

WORDS = st.text("abcXYZ019-._~", min_size=1, max_size=12)
SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/models/net-1.pth",
        "http://[::1]:8080/a@b",
        "https://example.org:443/package@1.0/file",
        "localhost:4317",
        "dns:///host:4317",
        "unix:/tmp/a@b",
        "http://[bad",
        "",
    ],
)
def test_what_has_no_secret_stays(url: str) -> None:
    assert shown(url) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:s3cr3t@host/net.pth", "https://host/net.pth"),
        ("https://s3cr3t@host", "https://host"),
        ("me:s3cr3t@host:4317", "host:4317"),
        ("https://host/net.pth?token=s3cr3t&download=1", "https://host/net.pth?token=…&download=…"),
        ("https://host/net.pth?s3cr3t", "https://host/net.pth?…"),
        ("https://host/net.pth?sig=s3cr3t==;s3cr3t", "https://host/net.pth?sig=…;…"),
        ("https://host/net.pth#s3cr3t", "https://host/net.pth"),
        ("https://me:s3/cr?3t@host/a", "https://host/a"),
        ("https://me:12@s3cr3t@host/a", "https://host/a"),
    ],
)
def test_secrets_are_left_out(url: str, expected: str) -> None:
    assert shown(url) == expected


@given(user=WORDS, host=WORDS, path=WORDS, key=WORDS)
def test_no_secret_is_shown(user: str, host: str, path: str, key: str) -> None:
    text = shown(f"https://{user}:{SECRET}@{host}/{path}?{key}={SECRET}&{SECRET}")
    assert SECRET not in text
    assert text == f"https://{host}/{path}?{key}=…&…"


def test_urls_within_a_text() -> None:
    text = "Invalid URL 'http://me:s3cr3t@host/a?b=s3cr3t': see 'https://me:s3cr3t@host'."
    assert shown_within(text) == "Invalid URL 'http://host/a?b=… see 'https://host'."
