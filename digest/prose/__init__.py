"""HTML to clean text, and text to an excerpt of the right length; pure."""
