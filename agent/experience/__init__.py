"""What long-term memory has to say in the loop, and what the loop leaves in it."""
