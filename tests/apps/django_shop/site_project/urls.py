from django.urls import include, path

urlpatterns = [
    path("", include("catalog.urls")),
    path("orders/", include("orders.urls")),
    path("accounts/", include("accounts.urls")),
]
