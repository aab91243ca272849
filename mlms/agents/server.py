"""Where an agent listens, who may call it, and its start and end."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlms.errors import InputError, StorageError

if TYPE_CHECKING:
    import grpc

    from mlms.agents.hosting import Host

THREADS = 16
"""So many calls are answered at once; others wait."""
GRACE_S = 5.0
"""So long calls that are being answered may take when the agent ends."""
SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: ``host`` and ``port`` (0: a free one), or a Unix socket; and how callers prove themselves."""

    host: str = "127.0.0.1"
    port: int = 8001
    path: Path | None = None
    tls: tuple[Path, Path] | None = None
    """Files of the certificate (with its chain) and its key."""
    token_file: Path | None = None
    max_message_mib: int = 256

    def check(self) -> None:
        """Raises InputError where others could reach it unprotected, or can't reach it at all."""
        if self.path is not None:
            if len(os.fsencode(self.path.absolute())) > SOCKET_PATH_BYTES:
                raise InputError(
                    f"{self.path} is too long for a Unix socket ({SOCKET_PATH_BYTES} bytes)", hint="use a shorter path"
                )
            if self.tls is not None:
                raise InputError("a Unix socket takes no TLS", hint="leave --tls-cert and --tls-key out")
        elif not is_loopback(self.host) and (self.tls is None or self.token_file is None):
            raise InputError(
                f"{self.host} can be reached from other machines, so TLS and a token are needed",
                hint="give --tls-cert, --tls-key and --token-file, or serve on 127.0.0.1 or a --socket",
            )

    def url(self, port: int) -> str:
        """What clients call it by."""
        if self.path is not None:
            return f"unix://{self.path.absolute()}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'grpc' if self.tls is None else 'grpcs'}://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def serving(host: Host, endpoint: Endpoint) -> Iterator[str]:
    """Load the listed models that ``host`` starts with, and answer calls; gives the URL.

    It answers health checks while it loads. When the context ends, so do calls and models.

    Raises:
        InputError: it can't listen there, or a file is missing or wrong.
        MlmsError: a model can't be loaded.
    """
    # Its core writes to standard error what the agent says itself.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    from mlms.agents.service import Service, TokenRequired

    endpoint.check()
    service = Service(host)
    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="agent"),
        handlers=service.handlers(),
        interceptors=[TokenRequired(read_token(endpoint.token_file))] if endpoint.token_file is not None else [],
        options=[
            ("grpc.max_receive_message_length", endpoint.max_message_mib << 20),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else two agents share a port unseen
        ],
    )
    port = _listen(server, endpoint)
    try:
        server.start()
        host.load_first()
        service.ready = True
        yield endpoint.url(port)
    finally:
        service.ready = False
        server.stop(GRACE_S).wait()
        host.close()
        if endpoint.path is not None:
            endpoint.path.unlink(missing_ok=True)


def read_token(file: Path) -> str:
    """The token that callers have to send.

    Raises:
        StorageError, InputError: there is none.
    """
    try:
        token = file.read_text("ascii").strip()
    except OSError as error:
        raise StorageError(f"the token file {file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise InputError(
            f"{file} holds no token",
            hint="it is one word of ASCII characters; 'openssl rand -hex 32' makes one",
        )
    return token


def _listen(server: grpc.Server, endpoint: Endpoint) -> int:
    if endpoint.path is not None:
        return _listen_at(server, endpoint.path)
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    address = f"{host}:{endpoint.port}"
    try:
        if endpoint.tls is None:
            port: int = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, _credentials(*endpoint.tls))
    except RuntimeError:
        port = 0
    if not port:
        raise InputError(
            f"can't listen at {address}: it is in use, or no address of this machine",
            hint="choose another --port; --port 0 takes a free one",
        )
    return port


def _listen_at(server: grpc.Server, path: Path) -> int:
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise InputError(f"{path} is there, and no socket", hint="choose another path")
        if _answers(path):
            raise InputError(f"another program listens at {path}", hint="choose another path, or end that program")
        path.unlink()  # left by a program that was killed
    mask = os.umask(0o177)  # for the owner alone: whoever may open it may call
    try:
        listening = server.add_insecure_port(f"unix:{path.absolute()}")
    except RuntimeError:
        listening = 0
    finally:
        os.umask(mask)
    if not listening:
        raise StorageError(f"can't make the socket {path}", hint="is its folder there, and may you write in it?")
    return 0


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def _credentials(certificate: Path, key: Path) -> Any:
    import ssl

    import grpc

    for file in (certificate, key):
        if not file.is_file():
            raise StorageError(f"there is no file {file}")
    try:  # gRPC doesn't say what is wrong with them
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise InputError(f"{certificate} and {key} are no certificate and its key: {error}") from error
    return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
