"""A server between obstore and moto that answers with errors, cuts connections, or passes on."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class FaultyServer:
    """``fault`` is asked about each request (method, path): None passes it on, a number is a status.

    ``"cut"`` sends half of what the answer promises.
    """

    def __init__(self, endpoint):
        self.fault = lambda method, path: None
        self.error_code = "Broken"
        self.seen = []
        outer, target = self, urlsplit(endpoint).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.seen.append((self.command, self.path))
                fault = outer.fault(self.command, self.path)
                if isinstance(fault, int):
                    text = f"<Error><Code>{outer.error_code}</Code><Message>no</Message></Error>".encode()
                    return self.answer(fault, [], text)
                connection = http.client.HTTPConnection(target)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
                kept = [
                    (key, value) for key, value in answer.getheaders() if key in {"ETag", "Last-Modified"}
                ]
                if self.command == "HEAD":
                    kept.append(("Content-Length", answer.getheader("Content-Length", "0")))
                return self.answer(answer.status, kept, data, cut=fault == "cut")

            def answer(self, status, headers, data, *, cut=False):
                self.send_response(status)
                for key, value in headers:
                    self.send_header(key, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if cut else data)
                self.close_connection = self.close_connection or cut

            def log_message(self, *_):
                pass

        for method in ("GET", "PUT", "HEAD", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.serve)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
