"""A small shop, to be run by the VS Code tests: ``flask --app shop run``."""

from flask import Flask

from shop.prices import price


def create_app() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def home() -> str:
        return f"Tea costs {price('tea')}"

    return app
