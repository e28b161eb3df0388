"""A month's issue: taken up, edited, explained, approved, due, and afterwards in the archive."""
