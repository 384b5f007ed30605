# Everything that `mien` can do, training above all, on processors; most of it is torch.
#
#   docker build -f dockerfiles/train.Dockerfile -t mien-train .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/workspace" \
#     mien-train run sample_gesture
#   ... mien-train run gesture --source /workspace/landmarks.csv
#
# Data, models and the registry lie in /workspace. The code runs from /app: mount a checkout there
# (-v "$PWD:/app:ro") to train with it, and the models' lineage then names its commit.

FROM python:3.11-slim
# OpenCV wants libGL and GLib, LightGBM wants OpenMP, the lineage git.
# Mesa's drivers and their compiler come along, 160 MB; nothing here draws, so they go again.
# Debian keeps one version of a package only: a pinned one would end the build some day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        git libgl1 libglib2.0-0 libgomp1 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && rm -rf /usr/lib/*/dri /usr/lib/*/libgallium* /usr/lib/*/libLLVM* /usr/lib/*/libz3* \
    && groupadd --gid 10001 mien \
    && useradd --uid 10001 --gid mien --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mien \
    && install --directory --owner mien --group mien /workspace \
    && git config --system --add safe.directory /app \
    && python -m venv /opt/mien
ENV PATH=/opt/mien/bin:$PATH
WORKDIR /app
COPY requirements_train.txt ./
# On Linux, PyPI has torch for CUDA alone, which does not load without most of CUDA's libraries.
# Left out is what it loads on a graphics card only: whole packages, then single libraries.
RUN awk '/^[a-z]/ {keep = !/^(cuda-[a-z]+|nvidia-cusolver|nvidia-nvtx|triton)==/} keep' \
    requirements_train.txt > /tmp/train.txt \
    && pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r /tmp/train.txt \
    && cd /opt/mien/lib/python3.11/site-packages \
    && rm -f /tmp/train.txt torch/lib/libtorch_cuda_linalg.so nvidia/cudnn/lib/libcudnn_* \
        nvidia/cu13/lib/libnvrtc.alt.* nvidia/cu13/lib/libnvperf_* \
    && python -c "import torch"
COPY LICENSE NOTICE README.md pyproject.toml requirements_dev.txt ./
# What installs the project, out of the lock and with its hashes.
RUN awk '/^[a-z]/ {keep = /^(editables|hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' \
    requirements_dev.txt > /tmp/build.txt \
    && pip install --no-cache-dir --require-hashes -r /tmp/build.txt \
    && rm /tmp/build.txt
COPY src src
RUN pip install --no-cache-dir --no-index --no-deps --no-build-isolation --editable .
# Any user may run it, also one without an entry in /etc/passwd: home and name are set here.
ENV HOME=/tmp \
    HOST=0.0.0.0 \
    MIEN_HOME=/workspace \
    MLFLOW_DISABLE_TELEMETRY=true \
    MPLCONFIGDIR=/tmp/matplotlib \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=mien \
    XDG_CACHE_HOME=/tmp/cache
USER 10001:10001
ENTRYPOINT ["mien"]
CMD ["--help"]
