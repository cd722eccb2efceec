"""Floor 3b: services that we call, and the only floor with an HTTP client of ours."""
