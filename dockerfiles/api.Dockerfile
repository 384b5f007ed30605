# The service and nothing else: no torch, no MLflow, no compiler. Two targets:
#
# `model`, the last one, has the champions inside, so that one digest names code and models:
#
#   mien export champion champions/
#   docker build -f dockerfiles/api.Dockerfile -t mien-model .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp --cap-drop ALL mien-model
#
# `service` has none; they come with the workspace, which is mounted and only read:
#
#   docker build -f dockerfiles/api.Dockerfile --target service -t mien-api .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp --cap-drop ALL \
#     -v "$PWD:/workspace:ro" -v mien-prediction-log:/prediction_log mien-api
#
# The workspace must be readable by user 10001. MIEN_THREADS says how many pictures are worked on
# at once (default: one for each CPU that the container may use, as --cpus limits it). A volume
# at /prediction_log keeps what was answered.

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY requirements_dev.txt ./
# What builds the wheel, out of the lock and with its hashes; none of it is in the last stage.
RUN awk '/^[a-z]/ {keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' \
    requirements_dev.txt > build.txt \
    && pip install --no-cache-dir --require-hashes -r build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN hatchling build -t wheel -d /wheel

FROM python:3.11-slim AS packages
WORKDIR /source
RUN python -m venv /opt/mien
ENV PATH=/opt/mien/bin:$PATH
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-index --no-deps /wheel/*.whl \
    && pip uninstall --yes pip setuptools
# What a service on a processor never loads: converters of models, tests.
WORKDIR /opt/mien/lib/python3.11/site-packages
RUN rm -rf onnxruntime/transformers onnxruntime/tools \
    && find numpy -type d -name tests -prune -exec rm -rf {} +

FROM python:3.11-slim AS service
RUN groupadd --gid 10001 mien \
    && useradd --uid 10001 --gid mien --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mien \
    && install --directory --owner mien --group mien /prediction_log /workspace
COPY --from=packages /opt/mien /opt/mien
# The base has no bytecode of the standard library, and where the root is only read none is written:
# each start would compile what it imports, a quarter of its CPU time.
RUN python -m compileall -q -x 'idlelib|lib2to3|ensurepip|turtledemo|pydoc_data|tkinter' \
    /usr/local/lib/python3.11
# Nothing is written but the prediction log and caches, and these go to /tmp, so that the root file system
# may be read-only. A new volume takes over the owner of /prediction_log, or of /workspace, which is
# written to where a server follows a team's registry.
ENV PATH=/opt/mien/bin:$PATH \
    HOME=/tmp \
    HOST=0.0.0.0 \
    MIEN_HOME=/workspace \
    MIEN_PREDICTION_LOG=/prediction_log/predictions.db \
    MIEN_PREDICTION_LOG_SPOOL=/prediction_log/predictions.db-spool \
    ORT_DISABLE_TELEMETRY=1 \
    PORT=8000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp/cache
WORKDIR /workspace
USER 10001:10001
EXPOSE 8000
# No proxy stands between a container and itself, whatever the environment says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=4)"]
CMD ["mien", "serve"]

FROM service AS model
COPY champions /workspace
# No volume is needed: only /tmp is written to, and what was answered ends with the container.
ENV MIEN_PREDICTION_LOG=/tmp/predictions.db \
    MIEN_PREDICTION_LOG_SPOOL=/tmp/predictions.db-spool
