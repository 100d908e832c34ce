"""A plain long-running script with threads: ``python service.py --port 8000``."""

import argparse
import contextlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers import tokens
from helpers.ticker import Ticker

SERVICE = "service-0"


def greeting():
    return "greeting-0"


def lazy():
    from helpers import reports

    return reports.REPORT


ticker = Ticker()
PAGES = {
    "/pid": lambda: str(os.getpid()),
    "/service": lambda: SERVICE,
    "/token": lambda: tokens.TOKEN,
    "/greeting": lambda: greeting(),
    "/threads": lambda: str(threading.active_count()),
    "/ticks": lambda: str(ticker.ticks),
    "/lazy": lazy,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/sleep/"):
            time.sleep(float(self.path.rpartition("/")[2]))
            return self.answer(200, "slept")
        page = PAGES.get(self.path)
        return self.answer(200, page()) if page else self.answer(404, "no such page")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    ticker.start()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print("listening on port", server.server_address[1], flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
