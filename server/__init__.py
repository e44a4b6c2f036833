"""The HTTP server, the managed engine and the command line."""
