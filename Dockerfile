# One image for the API, the workers and the migrations. Any builder can build it: nothing here needs BuildKit.
#
#   docker build -t modeldepot --build-arg VERSION=… .    # the version is for the label only
#   docker run --read-only --tmpfs /tmp -v models:/models -p 127.0.0.1:8080:8080 --env-file settings modeldepot
#
# The second word chooses the process: `serve` (the default), `worker` or `migrate`.

FROM python:3.13-slim AS build
WORKDIR /src
# The environment has no pip of its own: the base image's installs into it and stays behind.
RUN python -m venv --without-pip /opt/modeldepot && python -m venv /opt/build
COPY requirements-build.txt ./
RUN /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.txt
COPY requirements.txt ./
RUN /opt/build/bin/pip --python /opt/modeldepot/bin/python install \
    --no-cache-dir --require-hashes --no-deps --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY app app
COPY worker worker
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /src/wheel . \
 && /opt/build/bin/pip --python /opt/modeldepot/bin/python install --no-cache-dir --no-deps --no-index /src/wheel/*.whl \
 && /opt/build/bin/pip --python /opt/modeldepot/bin/python check

FROM python:3.13-slim
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Model Depot" \
      org.opencontainers.image.description="A self-hosted depot for AI models: fetched from Hugging Face once, verified, and kept where inference engines load them." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A new volume takes over /models with its owner. Whoever mounts a folder of the machine gives it to 10001 beforehand.
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
 && groupadd --system --gid 10001 depot \
 && useradd --system --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin depot \
 && mkdir /models && chown 10001:10001 /models
COPY --from=build /opt/modeldepot /opt/modeldepot
ENV PATH=/opt/modeldepot/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEPOT_HOST=0.0.0.0 \
    DEPOT_METRICS_HOST=0.0.0.0 \
    DEPOT_STORAGE=/models \
    DEPOT_LOG_FORMAT=json
USER 10001:10001
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-m", "app.probe"]
ENTRYPOINT ["modeldepot"]
CMD ["serve"]
