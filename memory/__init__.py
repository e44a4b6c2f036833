"""What the system remembers: the records, and the stores that keep them."""
