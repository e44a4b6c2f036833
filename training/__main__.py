"""`python -m training`."""

from training import allocation

if __name__ == "__main__":
    allocation.give_back()

    from training.cli import app

    app()
