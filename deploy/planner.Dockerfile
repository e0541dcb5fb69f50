# The planner: no torch, no GPU.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
WORKDIR /app

# Without any code yet, so that this layer changes with the dependencies alone.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore --constraint constraints.txt '.[planner]'

RUN useradd --uid 10001 --create-home app

COPY deploy/container/health.sh deploy/container/
COPY shared shared
COPY telemetry telemetry
COPY planner_service planner_service

USER app
CMD ["python", "-m", "planner_service", "serve"]
