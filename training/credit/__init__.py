"""How much each token of an attempt is to be encouraged: one file per algorithm."""
