"""`make compose-check`: docker-compose.yml on a real engine, from a clean clone, on a machine without GPUs and without
any registry of images.  What it does, and what came of it, is in benchmarks/compose.md.
"""
