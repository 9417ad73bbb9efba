"""The worker processes of one command."""
