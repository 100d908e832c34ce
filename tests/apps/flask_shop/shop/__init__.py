"""A small shop in Flask: blueprints, a template, a YAML file that is read at start."""

from pathlib import Path

import yaml
from flask import Flask

from . import admin, views


def create_app():
    app = Flask(__name__)
    settings = Path(__file__).with_name("settings.yaml")
    with settings.open() as file:
        app.config.update(yaml.safe_load(file))
    app.register_blueprint(views.blueprint)
    app.register_blueprint(admin.blueprint, url_prefix="/admin")
    return app
