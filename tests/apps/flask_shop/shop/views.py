import os

from flask import Blueprint, current_app, render_template

from . import prices

blueprint = Blueprint("views", __name__)

VIEWS = "views-0"


def greeting():
    return "greeting-0"


@blueprint.get("/")
def home():
    return render_template("home.html", price=prices.PRICE)


@blueprint.get("/pid")
def pid():
    return str(os.getpid())


@blueprint.get("/views")
def token():
    return VIEWS


@blueprint.get("/greeting")
def greet():
    return greeting()


@blueprint.get("/prices")
def price():
    return prices.PRICE


@blueprint.get("/setting")
def setting():
    return current_app.config["SETTING"]


@blueprint.get("/lazy")
def lazy():
    from . import reports

    return reports.REPORT
