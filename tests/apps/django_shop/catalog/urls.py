from django.urls import path

from . import views

urlpatterns = [
    path("", views.home),
    path("pid", views.pid),
    path("views", views.token),
    path("greeting", views.greeting),
    path("prices", views.price),
    path("setting", views.setting),
    path("lazy", views.lazy),
]
