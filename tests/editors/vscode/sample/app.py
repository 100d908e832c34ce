"""A small shop, run by the VS Code tests: ``flask run``, with the port from FLASK_RUN_PORT."""

import os

from flask import Flask
from shop.prices import price

app = Flask(__name__)


@app.get("/")
def home() -> str:
    return f"Tea costs {price('tea')}"


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())
