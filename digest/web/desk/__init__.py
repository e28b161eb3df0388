"""The desk: the editors' private pages."""
