"""What reading from a bucket costs."""

from __future__ import annotations

from dataclasses import dataclass

from codemix.data.store.elsewhere import Traffic
from codemix.recipe.planning.cost_estimate import show_bytes

LINE_RATE = 125e6  # bytes a second, of 1 Gbit/s
DOLLARS_PER_1000_READS = 0.0004  # list price of S3 and of GCS, standard class; bytes are free inside a region


@dataclass(frozen=True)
class Cost(Traffic):
    """What it costs."""

    @property
    def seconds(self) -> float:
        """At 1 Gbit/s."""
        return self.bytes / LINE_RATE

    @property
    def dollars(self) -> float:
        """For the requests, inside the bucket's region."""
        return self.requests / 1000 * DOLLARS_PER_1000_READS

    def __str__(self) -> str:
        size = show_bytes(self.bytes)
        took = f"{self.requests:,} requests, about {self.seconds:,.0f} s at 1 Gbit/s"
        dollars = "less than $0.01"
        if self.dollars >= 0.01:
            dollars = f"${self.dollars:,.2f}"
        return f"{size} in {took}, {dollars} of requests"
