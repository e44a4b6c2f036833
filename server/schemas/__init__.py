"""Wire models, one file per family; they become records at the edge."""
