import os

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render

from . import prices
from .models import Product

VIEWS = "views-0"


def home(request):
    return render(request, "catalog/home.html", {"products": Product.objects.all()})


def pid(request):
    return HttpResponse(str(os.getpid()))


def token(request):
    return HttpResponse(VIEWS)


def greeting(request):
    return HttpResponse("greeting-0")


def price(request):
    return HttpResponse(prices.PRICE)


def setting(request):
    return HttpResponse(settings.SETTING)


def lazy(request):
    from . import reports

    return HttpResponse(reports.REPORT)
