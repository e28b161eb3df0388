"""Who may work at the desk, and which programs may use the API."""
