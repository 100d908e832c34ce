from django.http import HttpResponse

ACCOUNTS = "accounts-0"


def token(request):
    return HttpResponse(ACCOUNTS)
