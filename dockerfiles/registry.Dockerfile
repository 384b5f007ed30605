# MLflow's server for a team's registry, with the drivers of PostgreSQL and S3; nothing of mien.
#
#   docker build -f dockerfiles/registry.Dockerfile -t mien-registry .
#   docker run --rm -p 127.0.0.1:5000:5000 --read-only --tmpfs /tmp --cap-drop ALL \
#     -e MLFLOW_BACKEND_STORE_URI -e MLFLOW_ARTIFACTS_DESTINATION mien-registry
#
# The first names the database, the second a bucket or another store of MLflow; without it, models
# are in /artifacts, which then needs a volume. docs/source/scale.md has both addresses. The server
# asks nobody for a password, and answers only hosts that MLFLOW_SERVER_ALLOWED_HOSTS names.

FROM python:3.11-slim
RUN groupadd --gid 10001 mien \
    && useradd --uid 10001 --gid mien --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mien \
    && install --directory --owner mien --group mien /artifacts \
    && python -m venv /opt/mlflow
ENV PATH=/opt/mlflow/bin:$PATH
WORKDIR /opt/mlflow
COPY requirements_registry.txt ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements_registry.txt
# No bytecode is written where the root is only read: pip has written that of the packages.
RUN python -m compileall -q -x 'idlelib|lib2to3|ensurepip|turtledemo|pydoc_data|tkinter' \
    /usr/local/lib/python3.11
ENV HOME=/tmp \
    MLFLOW_ARTIFACTS_DESTINATION=/artifacts \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_HOST=0.0.0.0 \
    MLFLOW_PORT=5000 \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_WORKERS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['MLFLOW_PORT'] + '/health', timeout=4)"]
CMD ["mlflow", "server"]
