"""`python -m generator_service`: the services, and a client of theirs."""

import typer

from generator_service import cli_jobs, cli_keys, cli_operations, cli_services
from generator_service.cli_render import render_command

app = typer.Typer(
    help="Motion-factorized video: a prompt becomes a plan, the plan steers a video model, the video is an MP4.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show locals, which hold keys and passwords
    rich_markup_mode=None,
)
app.command()(cli_services.serve)
app.command()(cli_services.plan_worker)
app.command()(cli_services.render_worker)
app.command()(cli_services.webhook_worker)
app.command("render")(render_command)
app.command()(cli_jobs.submit)
app.command()(cli_jobs.status)
app.command()(cli_jobs.cancel)
app.command()(cli_jobs.deliveries)
app.command()(cli_jobs.webhook_secret)
app.command()(cli_jobs.jobs)
app.command()(cli_jobs.backbones)
app.command()(cli_operations.overview)
app.add_typer(cli_keys.app, name="keys")

if __name__ == "__main__":
    app()
