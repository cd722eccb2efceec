"""Floor 3b: services that we call. Beside ``pictures.py`` the only place with an HTTP client."""
