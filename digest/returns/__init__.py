"""What comes back: bounces, complaints, and requests to be left in peace."""
