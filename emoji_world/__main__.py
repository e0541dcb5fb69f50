from emoji_world.cli import app

app()
