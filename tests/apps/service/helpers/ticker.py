import threading
import time


class Ticker(threading.Thread):
    """Counts in the background for as long as the process lives."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ticks = 0

    def run(self):
        while True:
            self.ticks += 1
            time.sleep(0.05)
