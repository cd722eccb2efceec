"""Floor 3d: a faithful Fitten service for demos, tests and benchmarks. Shares no reading of the wire with the client."""
