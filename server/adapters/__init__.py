"""Versions of the served model at run time: loaded into the engine, proved, made live, watched, retired."""
