"""The API: what a site, a workflow or a CI job needs, and no more."""
