"""One file per endpoint family, each a router."""
