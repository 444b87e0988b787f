"""Runs on a lab node: a TLS server of a folder, a proxy that refuses, and open ports.

    python3 walls_peer.py PEM FOLDER RECORD PORT ...

Each request to the proxy (port 3128) is a line of RECORD: the request's first line, and who asks.
"""

import ssl
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

PROXY_PORT, TLS_PORT = 3128, 8443


class Proxy(BaseHTTPRequestHandler):
    """Answers every request with 403, and writes it down."""

    record: Path

    def refuse(self) -> None:
        """Write it down, and refuse."""
        words = self.headers.get("Proxy-Authorization", "nobody")
        with self.record.open("a") as file:
            file.write(f"{self.requestline} {words}\n")
        self.send_error(403)

    do_GET = do_HEAD = do_CONNECT = refuse


class Files(SimpleHTTPRequestHandler):
    """Files; HTTP/1.1, which git wants."""

    protocol_version = "HTTP/1.1"


def main(pem: str, folder: str, record: str, *ports: str) -> None:
    """Serve for ever."""
    Proxy.record = Path(record)
    Path(record).touch()
    files = partial(Files, directory=folder)
    servers = [ThreadingHTTPServer(("", int(port)), files) for port in ports]
    servers.append(ThreadingHTTPServer(("", PROXY_PORT), Proxy))
    tls = ThreadingHTTPServer(("", TLS_PORT), files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    tls.socket = context.wrap_socket(tls.socket, server_side=True)
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    tls.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
