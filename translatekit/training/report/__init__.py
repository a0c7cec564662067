"""What a run shows on its page, which is read without a network or a server."""
