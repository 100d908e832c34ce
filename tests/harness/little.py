"""A server that needs no framework, as text: for tests that write an app of their own."""

from __future__ import annotations

_SERVER = """
import http.server, os, sys
{imports}
PAGES = {{"/pid": lambda: str(os.getpid()), {pages}}}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(PAGES[self.path]()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def server(imports: str, **pages: str) -> str:
    """A script that serves on the port that it is given: ``/pid``, and each of ``pages``, an
    expression. ``imports``: statements that come before."""
    listed = ", ".join(f'"/{name}": lambda: {value}' for name, value in pages.items())
    return _SERVER.format(imports=imports, pages=listed)
