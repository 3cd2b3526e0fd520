"""Addresses of the users."""

from django.urls import path

from console.accounts import users

app_name = "users"
urlpatterns = [
    path("", users.show_list, name="list"),
    path("create/", users.create, name="create"),
    path("<int:number>/link/", users.link, name="link"),
    *(
        path(f"<int:number>/{act}/", users.change, {"act": act}, name=act)
        for act in ("promote", "demote", "enable", "disable")
    ),
    path("<int:number>/forget-factors/", users.forget_factors, name="forget-factors"),
    path("<int:number>/remove/", users.remove, name="remove"),
]
