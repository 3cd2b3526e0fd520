"""Every account so far was made with a setup link, and so is an admin's."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def promote(apps: Any, _editor: Any) -> None:
    """Until now nobody asked for the role."""
    apps.get_model("accounts", "User").objects.update(is_superuser=True)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(promote, migrations.RunPython.noop)]
