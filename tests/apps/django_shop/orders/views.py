from django.http import HttpResponse

from .models import Order

ORDERS = "orders-0"


def token(request):
    return HttpResponse(ORDERS)


def count(request):
    return HttpResponse(str(Order.objects.count()))
