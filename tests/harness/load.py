"""Clients that ask without a pause while files are saved, and count what they got."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Load:
    """``clients`` threads, together about ``rate`` requests a second, until :meth:`stop`.

    keep_alive: one connection a client instead of one a request. A request is then sent again
        (once, as any standard client does: RFC 9110, 9.2.2) where the connection turned out to
        have been closed while it was idle, and counts as failed if that fails too.
    """

    port: int
    page: str = "/pid"
    clients: int = 4
    rate: float = 200
    keep_alive: bool = False
    requests: int = 0
    longest: float = 0.0
    repeated: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)
        ]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __enter__(self) -> Load:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Load:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
        return self

    def _run(self) -> None:
        pause = self.clients / self.rate
        connection: http.client.HTTPConnection | None = None
        due = time.monotonic()
        while not self._stopping.is_set():
            began = time.monotonic()
            failure = None
            try:
                connection = self._ask(connection)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                failure = f"{type(error).__name__}: {error}"
                connection = None
            took = time.monotonic() - began
            with self._lock:
                self.requests += 1
                self.longest = max(self.longest, took)
                if failure:
                    self.failures.append(f"{failure} after {took:.3f} s")
            # No catching up after a stall: that would be a burst that no real clients make.
            due = max(due + pause, time.monotonic())
            self._stopping.wait(max(0.0, due - time.monotonic()))
        if connection is not None:
            connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection | None
    ) -> http.client.HTTPConnection | None:
        reused = connection is not None
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", self.page, headers=self._headers())
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            if not reused:
                raise
            with self._lock:
                self.repeated += 1
            return self._ask(None)
        except BaseException:
            connection.close()
            raise
        body = response.read()
        if response.status != 200 or not body:
            connection.close()
            raise AssertionError(f"status {response.status}, {body[:80]!r}")
        if not self.keep_alive or response.will_close:
            connection.close()
            return None
        return connection

    def _headers(self) -> dict[str, str]:
        return {} if self.keep_alive else {"Connection": "close"}

    def __str__(self) -> str:
        return (
            f"{self.requests} requests, {len(self.failures)} failed, "
            f"longest {self.longest:.2f} s, {self.repeated} repeated"
        )
