"""Token shards and stages, written in the formats of other trainers."""
