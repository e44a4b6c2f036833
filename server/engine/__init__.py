"""The inference engine: where its models come from, its process, its HTTP side."""
