from pathlib import Path

import pytest

from mlms.tracing.collector import collector, endpoint_from_environment

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HEADERS", "INSECURE", "PROTOCOL", "TIMEOUT", "COMPRESSION", "CERTIFICATE"):
        monkeypatch.delenv(PREFIX + name, raising=False)
        monkeypatch.delenv(f"{PREFIX}TRACES_{name}", raising=False)


def test_the_traces_own_endpoint_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert endpoint_from_environment() is None
    monkeypatch.setenv(PREFIX + "ENDPOINT", "http://general:4317")
    assert endpoint_from_environment() == "http://general:4317"
    monkeypatch.setenv(PREFIX + "TRACES_ENDPOINT", "")
    assert endpoint_from_environment() == "http://general:4317"
    monkeypatch.setenv(PREFIX + "TRACES_ENDPOINT", "http://traces:4317")
    assert endpoint_from_environment() == "http://traces:4317"


@pytest.mark.parametrize(
    ("endpoint", "insecure_variable", "target", "insecure"),
    [
        ("http://host:1234", "false", "host:1234", True),
        ("https://host:1234", "true", "host:1234", False),
        ("http://host/ignored/path", None, "host:4317", True),
        ("https://host", None, "host:443", False),
        ("http://[::1]:4317", None, "[::1]:4317", True),
        ("host:4317", None, "host:4317", False),
        ("host:4317", "TRUE", "host:4317", True),
        ("dns:///host:4317", "true", "dns:///host:4317", True),
    ],
)
def test_endpoints(
    endpoint: str, insecure_variable: str | None, target: str, insecure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if insecure_variable:
        monkeypatch.setenv(PREFIX + "INSECURE", insecure_variable)
    made = collector(endpoint)
    assert (made.target, made.insecure) == (target, insecure)


def test_user_and_password_are_not_shown() -> None:
    made = collector("http://me:hush@host:4317")
    assert made.endpoint == "http://host:4317"
    assert "hush" not in repr(made)


def test_a_target_of_grpc_has_no_user() -> None:
    made = collector("me:hush@host:4317")
    assert (made.endpoint, made.target) == ("host:4317", "host:4317")
    assert collector("unix:/tmp/a@b?c#d").target == "unix:/tmp/a@b?c#d"


@pytest.mark.parametrize("endpoint", ["http://me:hush@", "http://me:hu/sh@host", "http://[hush@host", "http://a:hush"])
def test_what_is_wrong_with_an_endpoint_is_said_without_its_password(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"the endpoint .* (names no host|is no URL)") as caught:
        collector(endpoint)
    assert "me:" not in str(caught.value)


def test_headers_are_percent_decoded_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "HEADERS", "authorization=Bearer%20hush, X-Team = a=b")
    made = collector("http://host")
    assert made.headers == (("authorization", "Bearer hush"), ("x-team", "a=b"))
    assert "hush" not in repr(made)


def test_the_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "TIMEOUT", "1500")
    monkeypatch.setenv(PREFIX + "TRACES_COMPRESSION", "gzip")
    monkeypatch.setenv(PREFIX + "CERTIFICATE", "/certificates/ca.pem")
    made = collector("https://host")
    assert (made.timeout, made.gzip, made.certificate) == (1.5, True, Path("/certificates/ca.pem"))
    assert made.client_key is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PROTOCOL", "http/json", "expected grpc or http/protobuf"),
        ("TIMEOUT", "10s", "expected milliseconds"),
        ("TIMEOUT", "0", "expected milliseconds"),
        ("COMPRESSION", "zstd", "expected gzip"),
    ],
)
def test_settings_that_make_no_sense(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ValueError, match=message):
        collector("http://host:4317")


@pytest.mark.parametrize("endpoint", ["http://", "http://[::1", "http://host:port", "http://host:70000"])
def test_endpoints_that_make_no_sense(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        collector(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("http://host:1234", "http://host:1234/v1/traces"),
        ("http://host:1234/", "http://host:1234/v1/traces"),
        ("https://host/otlp/", "https://host/otlp/v1/traces"),
        ("http://host/v1/traces", "http://host/v1/traces"),
        ("http://[::1]:4318?key=x", "http://[::1]:4318/v1/traces?key=x"),
    ],
)
def test_endpoints_over_http(endpoint: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "PROTOCOL", "http/protobuf")
    made = collector(endpoint)
    assert (made.protocol, made.target, made.endpoint) == ("http/protobuf", target, target.partition("?")[0])


def test_the_traces_own_endpoint_over_http_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "PROTOCOL", "http/protobuf")
    monkeypatch.setenv(PREFIX + "ENDPOINT", "http://general")
    assert collector().target == "http://general/v1/traces"
    monkeypatch.setenv(PREFIX + "TRACES_ENDPOINT", "http://traces/take")
    assert collector().target == "http://traces/take"


@pytest.mark.parametrize(
    ("endpoint", "protocol"),
    [
        ("http://host:4317", "grpc"),
        ("http://host:4318", "http/protobuf"),
        ("https://host/v1/traces", "http/protobuf"),
        ("host:4318", "grpc"),
    ],
)
def test_port_and_path_tell_the_protocol_where_nothing_else_does(endpoint: str, protocol: str) -> None:
    assert collector(endpoint).protocol == protocol


def test_a_password_is_sent_over_http_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    made = collector("http://me:hush@host:4318")
    assert made.target == "http://me:hush@host:4318/v1/traces"
    assert made.endpoint == "http://host:4318/v1/traces"
    assert "hush" not in repr(made)


def test_over_http_only_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "PROTOCOL", "http/protobuf")
    with pytest.raises(ValueError, match="which OTLP over HTTP needs"):
        collector("host:4318")
