"""How well a program is written, apart from whether it is right."""
