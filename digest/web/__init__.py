"""The pages: what a letter links to, the archive, and what serves them."""
