"""Training in three stages, each resumable at any point: vae → cache → transformer."""
