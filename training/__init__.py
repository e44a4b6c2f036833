"""Learning from stored attempts: datasets, credit, the trainer, and adapters on their way to the engine."""
