"""The sample apps of tests/apps, and which token stands where in each."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Token:
    """The word ``NAME-0`` in ``file``; ``page`` answers with it as long as that code is live."""

    file: str
    name: str
    page: str


@dataclass(frozen=True)
class Sample:
    """One sample app.

    command: ``{python}`` and ``{port}`` are filled in
    prepare: what is run once in a new copy
    leaf:    a constant in a module that imports nothing
    main:    a constant in a module that imports others
    lazy:    stands in a module that is imported when its page is first asked for
    unused:  a module that nobody imports; test: a test file, neither
    """

    name: str
    folder: str
    command: tuple[str, ...]
    leaf: Token
    main: Token
    unused: str
    lazy: Token
    test: str | None = None
    template: Token | None = None
    data: Token | None = None
    prepare: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    workers: int = 1


_FLASK = Sample(
    name="flask",
    folder="flask_shop",
    command=("{python}", "-m", "flask", "--app", "shop", "run", "--port", "{port}"),
    leaf=Token("shop/prices.py", "prices", "/prices"),
    main=Token("shop/views.py", "views", "/views"),
    lazy=Token("shop/reports.py", "reports", "/lazy"),
    unused="shop/unused.py",
    test="tests/test_prices.py",
    template=Token("shop/templates/home.html", "template", "/"),
    data=Token("shop/settings.yaml", "setting", "/setting"),
)

_GUNICORN = Sample(
    name="gunicorn",
    folder="flask_shop",
    command=("{python}", "-m", "gunicorn", "wsgi:app", "-w", "2", "-b", "127.0.0.1:{port}"),
    leaf=_FLASK.leaf,
    main=_FLASK.main,
    lazy=_FLASK.lazy,
    unused=_FLASK.unused,
    test=_FLASK.test,
    template=_FLASK.template,
    data=_FLASK.data,
    workers=2,
)

_DJANGO = Sample(
    name="django",
    folder="django_shop",
    command=("{python}", "manage.py", "runserver", "127.0.0.1:{port}"),
    prepare=("{python}", "manage.py", "migrate", "-v0"),
    leaf=Token("catalog/prices.py", "prices", "/prices"),
    main=Token("catalog/views.py", "views", "/views"),
    lazy=Token("catalog/reports.py", "reports", "/lazy"),
    unused="catalog/unused.py",
    test="tests/test_prices.py",
    template=Token("catalog/templates/catalog/home.html", "template", "/"),
    data=Token("site_project/settings.py", "setting", "/setting"),
)

_FASTAPI = Sample(
    name="fastapi",
    folder="fastapi_shop",
    command=("{python}", "-m", "uvicorn", "shop.main:app", "--port", "{port}"),
    leaf=Token("shop/prices.py", "prices", "/prices"),
    main=Token("shop/main.py", "main", "/main"),
    lazy=Token("shop/reports.py", "reports", "/lazy"),
    unused="shop/unused.py",
    test="tests/test_prices.py",
    data=Token("shop/database.py", "database", "/items"),
)

_SERVICE = Sample(
    name="service",
    folder="service",
    command=("{python}", "service.py", "--port", "{port}"),
    leaf=Token("helpers/tokens.py", "token", "/token"),
    main=Token("service.py", "service", "/service"),
    lazy=Token("helpers/reports.py", "reports", "/lazy"),
    unused="helpers/unused.py",
)

SAMPLES = {sample.name: sample for sample in (_FLASK, _DJANGO, _FASTAPI, _GUNICORN, _SERVICE)}
