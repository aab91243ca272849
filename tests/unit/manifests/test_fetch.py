from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.weights_server import Fault, WeightsServer
from mlms.errors import ChecksumError, FetchError, InputError, StorageError
from mlms.manifests.fetch import FetchSettings, fetch, sha256_of
from mlms.progress import Silent

CONTENT = bytes(range(256)) * 1000
CUT = 140_000
"""Inside of the third chunk of 64 KiB."""


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with WeightsServer() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> FetchSettings:
    return FetchSettings(cache=tmp_path / "cache", attempts=3, backoff=0.001, timeout=5)


def once(cache: FetchSettings) -> FetchSettings:
    return FetchSettings(cache=cache.cache, attempts=1, timeout=5)


def offline(cache: FetchSettings) -> FetchSettings:
    return FetchSettings(cache=cache.cache, offline=True)


def leftovers(cache: FetchSettings) -> list[str]:
    return sorted(path.suffix for path in (cache.cache / "downloads").iterdir() if path.suffix != ".lock")


class Counting(Silent):
    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None
        self.done = 0

    def task(self, description, total=None, unit="items"):  # type: ignore[no-untyped-def]
        assert unit == "bytes"
        self.total, self.done = total, 0
        from contextlib import nullcontext

        return nullcontext(self.advance)

    def advance(self, amount: int) -> None:
        self.done += amount


def test_downloads_once_and_names_the_file_by_its_digest(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/models/net-0.pth", CONTENT)
    progress = Counting()
    path = fetch(url, digest, progress=progress, settings=cache)
    assert path.read_bytes() == CONTENT
    assert path.name == f"{digest}-net-0.pth"
    assert progress.total == progress.done == len(CONTENT)
    assert fetch(url, digest.upper(), progress=progress, settings=cache) == path
    assert len(server.requests) == 1
    assert leftovers(cache) == [".pth"]


@given(length=st.integers(8, 64))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_prefix_of_8_digits_or_more_is_a_checksum(server: WeightsServer, cache: FetchSettings, length: int) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    assert fetch(url, digest[:length], progress=Silent(), settings=cache).read_bytes() == CONTENT
    wrong = digest[: length - 1] + ("0" if digest[length - 1] != "0" else "1")
    with pytest.raises(ChecksumError, match=digest):
        fetch(url, wrong, progress=Silent(), settings=cache)


@pytest.mark.parametrize("digest", ["", "abcdef1", "g" * 8, "a" * 65])
def test_refuses_what_is_no_digest(cache: FetchSettings, digest: str) -> None:
    with pytest.raises(InputError, match="8 to 64 hexadecimal"):
        fetch("https://example.org/net.pth", digest, progress=Silent(), settings=cache)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "net.pth", "https:///a"])
def test_refuses_other_schemes(cache: FetchSettings, url: str) -> None:
    with pytest.raises(InputError, match="not an http or https URL"):
        fetch(url, "0" * 64, progress=Silent(), settings=cache)


def test_a_cut_off_download_resumes_in_the_same_call(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(cut=CUT))
    progress = Counting()
    assert fetch(url, digest, progress=progress, settings=cache).read_bytes() == CONTENT
    assert server.requests == [("/net.pth", None), ("/net.pth", f"bytes={CUT}-")]
    assert progress.total == progress.done == len(CONTENT)


def test_a_cut_off_download_keeps_its_part_for_the_next_call(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(cut=CUT))
    with pytest.raises(FetchError, match=f"cut off, {CUT} bytes are kept") as caught:
        fetch(url, digest, progress=Silent(), settings=once(cache))
    assert all(word in str(caught.value.hint) for word in ("MLMS_MIRROR", "wget -O", url, str(cache.cache)))
    assert leftovers(cache) == [".etag", ".part"]
    assert fetch(url, digest, progress=Silent(), settings=once(cache)).read_bytes() == CONTENT
    assert server.requests[-1] == ("/net.pth", f"bytes={CUT}-")
    assert leftovers(cache) == [".pth"]


def test_a_server_that_ignores_range_sends_it_all_again(server: WeightsServer, cache: FetchSettings) -> None:
    server.ranges = False
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(cut=CUT))
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changed_since_the_part_starts_again(
    server: WeightsServer, cache: FetchSettings, etags: bool
) -> None:
    server.etags = etags
    url, digest = server.put("/net.pth", CONTENT)
    server.put("/net.pth", CONTENT[::-1])
    server.faults.append(Fault(cut=CUT))
    with pytest.raises(FetchError, match="cut off"):
        fetch(url, digest, progress=Silent(), settings=once(cache))
    server.put("/net.pth", CONTENT)
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT
    # If-Range spares the second request that the checksum alone needs.
    assert len(server.requests) == (2 if etags else 3)


def test_a_part_longer_than_the_file_starts_again(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    part = cache.cache / "downloads" / f"{digest}-net.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_complete_part_needs_no_request(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    part = cache.cache / "downloads" / f"{digest}-net.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT
    assert server.requests == []


def test_wrong_bytes_are_deleted(server: WeightsServer, cache: FetchSettings) -> None:
    url, _ = server.put("/net.pth", CONTENT)
    with pytest.raises(ChecksumError, match=hashlib.sha256(CONTENT).hexdigest()) as caught:
        fetch(url, "0" * 64, progress=Silent(), settings=cache)
    assert caught.value.hint
    assert leftovers(cache) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_tries_again_after_a_passing_error(server: WeightsServer, cache: FetchSettings, status: int) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.extend([Fault(status=status), Fault(status=status)])
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT


def test_gives_up_after_so_many_tries(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.extend([Fault(status=503)] * 9)
    with pytest.raises(FetchError, match=r"503 Service Unavailable \(3 tries\)"):
        fetch(url, digest, progress=Silent(), settings=cache)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(server: WeightsServer, cache: FetchSettings, status: int) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(status=status))
    with pytest.raises(FetchError, match=f"the server answers {status}"):
        fetch(url, digest, progress=Silent(), settings=cache)
    assert len(server.requests) == 1


def test_an_unreachable_server(server: WeightsServer, cache: FetchSettings) -> None:
    with WeightsServer() as gone:
        url, digest = gone.put("/net.pth", CONTENT)
    with pytest.raises(FetchError, match=r"can't be reached \(Connection refused\)") as caught:
        fetch(url, digest, progress=Silent(), settings=cache)
    assert "MLMS_MIRROR" in str(caught.value.hint)


def test_a_redirect_is_followed(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(status=302, location=url))
    assert fetch(f"{server.base}/old.pth", digest, progress=Silent(), settings=cache).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://[bad", "http://host:port/net.pth"])
def test_refuses_what_is_no_url(cache: FetchSettings, url: str) -> None:
    mirrored = FetchSettings(cache=cache.cache, mirror=url)
    for asked, where in ((url, cache), ("https://example.org/net.pth", mirrored)):
        with pytest.raises(InputError, match="not an http or https URL"):
            fetch(asked, "0" * 64, progress=Silent(), settings=where)


@pytest.mark.parametrize("location", ["http://[bad", "http://host:port/", "file:///etc/passwd"])
def test_a_redirect_to_nowhere(server: WeightsServer, cache: FetchSettings, location: str) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(status=302, location=location))
    with pytest.raises(FetchError, match="cannot download"):
        fetch(url, digest, progress=Silent(), settings=cache)


@pytest.mark.parametrize("length", ["abc", "-5", "²"])
def test_a_length_that_is_no_number(server: WeightsServer, cache: FetchSettings, length: str) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(headers={"Content-Length": length}))
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "unheard-of"])
def test_an_encoding_that_was_not_asked_for_is_not_undone(
    server: WeightsServer, cache: FetchSettings, encoding: str
) -> None:
    packed = gzip.compress(CONTENT)
    url, digest = server.put("/net.tar.gz", packed)
    server.faults.append(Fault(headers={"Content-Encoding": encoding}))
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == packed


def test_a_reason_cannot_steer_the_terminal(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    server.faults.append(Fault(status=404, reason="\x1b[31mEvil\x1b]0;own\x07"))
    with pytest.raises(FetchError, match="404") as caught:
        fetch(url, digest, progress=Silent(), settings=cache)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(status=404),
        Fault(status=503),
        Fault(status=302, location="ftp://me:s3cr3t@a"),
        Fault(status=302, location="http://me:s3/cr3t@a"),
        Fault(cut=CUT),
    ],
)
def test_no_message_has_a_password_or_token(server: WeightsServer, cache: FetchSettings, fault: Fault | None) -> None:
    _, digest = server.put("/net.pth", CONTENT)
    base = server.base.replace("//", "//me:s3cr3t@")
    if fault:
        server.faults.append(fault)
    with pytest.raises(FetchError) as caught:
        fetch(f"{base}/net.pth?token=s3cr3t", digest if fault else "0" * 64, progress=Silent(), settings=once(cache))
    assert "s3cr3t" not in str(caught.value)
    assert "/net.pth?token=…" in str(caught.value)
    mirrored = FetchSettings(cache=cache.cache, mirror=base.replace("127.0.0.1", "127.0.0.2:1/"), attempts=1)
    for settings_ in (mirrored, offline(cache)):
        with pytest.raises(FetchError) as caught:
            fetch("https://a/b?s3cr3t", "0" * 64, progress=Silent(), settings=settings_)
        assert "s3cr3t" not in str(caught.value)


def test_a_mirror_keeps_path_and_query(server: WeightsServer, cache: FetchSettings) -> None:
    _, digest = server.put("/copy/models/net.pth", CONTENT)
    mirrored = FetchSettings(cache=cache.cache, mirror=f"{server.base}/copy/", attempts=1)
    path = fetch("https://example.org/models/net.pth?v=2", digest, progress=Silent(), settings=mirrored)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/copy/models/net.pth?v=2", None)]


def test_offline_takes_the_cache_only(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    with pytest.raises(FetchError, match="not in the cache") as caught:
        fetch(url, digest, progress=Silent(), settings=offline(cache))
    target = cache.cache / "downloads" / f"{digest}-net.pth"
    assert str(target) in str(caught.value.hint)
    assert server.requests == []
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch(url, digest, progress=Silent(), settings=offline(cache)) == target


def test_a_spoilt_file_in_the_cache_is_noticed(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    fetch(url, digest, progress=Silent(), settings=cache).write_bytes(b"spoilt")
    with pytest.raises(ChecksumError, match="was expected"):
        fetch(url, digest, progress=Silent(), settings=offline(cache))
    progress = Silent()
    assert fetch(url, digest, progress=progress, settings=cache).read_bytes() == CONTENT
    assert ["downloaded again" in warning for warning in progress.warnings] == [True]


def test_a_cache_that_cannot_be_made(server: WeightsServer, tmp_path: Path) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot keep") as caught:
        fetch(url, digest, progress=Silent(), settings=FetchSettings(cache=tmp_path / "file" / "cache"))
    assert "MLMS_CACHE" in str(caught.value.hint)


FETCH = textwrap.dedent("""
    import sys
    from pathlib import Path
    from mlms.errors import StorageError
    from mlms.manifests.fetch import FetchSettings, fetch
    from mlms.progress import Silent
    if len(sys.argv) > 4:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
    try:
        print(fetch(sys.argv[1], sys.argv[2], progress=Silent(), settings=FetchSettings(Path(sys.argv[3]))).name)
    except StorageError as error:
        print(error)
""")


def python(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_a_storage_error_and_keeps_the_part(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT)
    output, _ = python(url, digest, str(cache.cache), "100000").communicate(timeout=60)
    assert "cannot keep" in output
    assert "make room" in output
    assert ".part" in leftovers(cache)
    assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT


def test_processes_and_threads_share_one_download(server: WeightsServer, cache: FetchSettings) -> None:
    url, digest = server.put("/net.pth", CONTENT * 20)
    others = [python(url, digest, str(cache.cache)) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        paths = {*pool.map(lambda _: fetch(url, digest, progress=Silent(), settings=cache), range(4))}
    outputs = {other.communicate(timeout=60)[0].strip() for other in others}
    assert {path.name for path in paths} == outputs == {f"{digest}-net.pth"}
    assert len(server.requests) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_a_certificate_that_nobody_trusts_is_refused_at_once(cache: FetchSettings, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with WeightsServer(tls=context) as server:
        url, digest = server.put("/net.pth", CONTENT)
        with pytest.raises(FetchError, match="certificate can't be trusted"):
            fetch(url, digest, progress=Silent(), settings=cache)
        assert server.requests == []
        with WeightsServer() as plain, pytest.MonkeyPatch.context() as patch:
            unprotected, _ = plain.put("/net.pth", CONTENT)
            patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            server.faults.append(Fault(status=302, location=unprotected))
            with pytest.raises(FetchError, match="unprotected"):
                fetch(url, digest, progress=Silent(), settings=cache)
            assert fetch(url, digest, progress=Silent(), settings=cache).read_bytes() == CONTENT


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLMS_CACHE", "MLMS_MIRROR", "MLMS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    default = FetchSettings.from_environment()
    assert default.cache.name == "mlms"
    assert (default.mirror, default.offline) == (None, False)
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path))
    monkeypatch.setenv("MLMS_MIRROR", "http://a")
    monkeypatch.setenv("MLMS_OFFLINE", "1")
    given = FetchSettings.from_environment()
    assert (given.cache, given.mirror, given.offline) == (tmp_path, "http://a", True)
    monkeypatch.setenv("MLMS_OFFLINE", "0")
    argued = FetchSettings.from_environment(mirror="http://b", offline=False)
    assert (argued.mirror, argued.offline) == ("http://b", False)


@given(content=st.binary(max_size=4096))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sha256_of_follows_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    path.write_bytes(content + b"!")
    assert sha256_of(path) == hashlib.sha256(content + b"!").hexdigest()


def test_sha256_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        sha256_of(tmp_path / "none")
