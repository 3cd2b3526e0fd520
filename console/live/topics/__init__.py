"""The topics that a page may ask for, by the name it uses."""

from __future__ import annotations

from console.live.topic import Topic
from console.live.topics.containers import Containers
from console.live.topics.jobs import Jobs
from console.live.topics.logs import Logs
from console.live.topics.metrics import Metrics
from console.live.topics.processes import Processes
from console.live.topics.stats import Stats

TOPICS: dict[str, type[Topic]] = {topic.name: topic for topic in (Containers, Stats, Metrics, Logs, Jobs, Processes)}
