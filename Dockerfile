# Velatura in a container: `--target cpu`, the default, or `--target cuda` for NVIDIA graphics cards.
# docs/deploy/docker.md says how to build and run both; `make image` builds the first without any registry of images.

# Any image with Debian's package manager.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS system
ENV DEBIAN_FRONTEND=noninteractive
# Debian's stable release fixes the versions, and its security updates are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM system AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/velatura
COPY pyproject.toml README.md LICENSE NOTICE /source/
COPY trainers /source/trainers
COPY presets /source/presets
COPY app /source/app

# Torch for Linux comes with CUDA unless another index is given: an address whose wheels are for the CPU alone saves 4 GB.
FROM build AS build-cpu
ARG CPU_WHEELS=""
# pyproject.toml says which versions fit.
# hadolint ignore=DL3013
RUN /opt/velatura/bin/pip install ${CPU_WHEELS:+--extra-index-url "$CPU_WHEELS"} /source

FROM build AS build-cuda
# hadolint ignore=DL3013
RUN /opt/velatura/bin/pip install "/source[8bit]"

# Everything that people keep is in one volume: runs, styles, accounts, downloaded bases.
FROM system AS studio
RUN useradd --create-home --uid 1000 velatura && install -d -o velatura -g velatura /outputs
ENV PATH=/opt/velatura/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VELATURA_HOME=/outputs \
    HF_HOME=/outputs/.huggingface
USER 1000
WORKDIR /outputs
VOLUME /outputs
EXPOSE 7860
# An address that needs no login.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import http.client; studio = http.client.HTTPConnection('127.0.0.1', 7860, timeout=8); studio.request('GET', '/health'); raise SystemExit(studio.getresponse().status != 200)"]
ENTRYPOINT ["velatura"]
CMD ["ui", "--host", "0.0.0.0", "--port", "7860"]

FROM studio AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/velatura /opt/velatura

FROM studio AS cpu
COPY --from=build-cpu /opt/velatura /opt/velatura
