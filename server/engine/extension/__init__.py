"""What runs inside vLLM's processes, in the engine's environment. The server imports nothing of it."""
