"""Floor 4: the only place that knows both walls."""
