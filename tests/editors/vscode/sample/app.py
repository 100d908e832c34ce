"""The shop as one file, with a port of its own."""

import os

from flask import Flask

from shop.prices import price

app = Flask(__name__)


@app.get("/")
def home() -> str:
    return f"Tea costs {price('tea')}"


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
