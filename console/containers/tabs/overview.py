"""A container at a glance."""

from __future__ import annotations

import json
import math
import time
from itertools import pairwise

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from console import gateway, recorder
from console.containers import tabs

GAP_S = 2.5
DRAWN_S = 120.0  # by its two curves, which go on in static/js/figures.js


@require_safe
def show(request: HttpRequest, ref: str) -> HttpResponse:
    """Its figures, its last lines, what it was made of."""
    container = gateway.engine().inspect(ref)
    past = recorder.recorder().history.of(container.id, time.time() - DRAWN_S)
    gaps = [at for at, (one, next_) in enumerate(pairwise(past.times), 1) if next_ - one > GAP_S]
    first = gaps[-1] if gaps else 0  # a point a second, without a hole
    curves = {
        name: json.dumps([round(value, 3) for value in past.points[field][first:] if not math.isnan(value)])
        for name, field in (("cpu", "cpu"), ("mem", "memory"))
    }
    return tabs.show(request, container, "overview", {"curves": curves})
