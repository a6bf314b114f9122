"""All metrics as text, in the format that whoever asks prefers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder

_OPEN_METRICS = "application/openmetrics-text"


def written(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics if `accept`, a header, asks for it, else Prometheus's own format."""
    encode, content_type = choose_encoder(accept)
    if not content_type.startswith(_OPEN_METRICS):
        registry = cast(CollectorRegistry, _WithoutCreationTimes(registry))
    return encode(registry), content_type


class _WithoutCreationTimes:
    """In the text format the time at which a counter began would be one more series beside each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
