"""`python -m generator_service`: the services, and a client of theirs."""

import typer

from generator_service.cli import convert, jobs, keys, overview, render, services

app = typer.Typer(
    help="Motion-factorized video: a prompt becomes a plan, the plan steers a video model, the video is an MP4.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show locals, which hold keys and passwords
    rich_markup_mode=None,
)
app.command()(services.serve)
app.command()(services.plan_worker)
app.command()(services.render_worker)
app.command()(services.webhook_worker)
app.command("render")(render.render_command)
app.command("convert")(convert.convert)
app.command()(jobs.submit)
app.command()(jobs.status)
app.command()(jobs.cancel)
app.command()(jobs.deliveries)
app.command()(jobs.webhook_secret)
app.command()(jobs.jobs)
app.command()(jobs.backbones)
app.command()(overview.overview)
app.add_typer(keys.app, name="keys")

if __name__ == "__main__":
    app()
