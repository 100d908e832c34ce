from flask import Blueprint

blueprint = Blueprint("admin", __name__)

ADMIN = "admin-0"


@blueprint.get("/token")
def token():
    return ADMIN
