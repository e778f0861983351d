# The same on a Jetson, on NVIDIA's JetPack image, with NVIDIA's own build of ONNX Runtime.
#
#   edgewright wheelhouse wheels --profile jetson-orin-nano --python 3.10 --wheel onnxruntime_gpu-VERSION-cp310-cp310-linux_aarch64.whl
#   docker build -f docker/jetson.Dockerfile --build-arg BASE=IMAGE -t edgewright-jetson .
#
# BASE is NVIDIA's l4t-jetpack image of the JetPack that the board runs: CUDA and TensorRT come from it, and the two must
# fit. It has no default, because a wrong one fails only at run time.
ARG BASE

FROM ${BASE} AS build
ARG WHEELS=wheels
# Which version there is depends on BASE.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY docker/install.py /build/install.py
COPY ${WHEELS} /build/wheels
RUN ["python3", "/build/install.py", "/build/wheels", "/opt/edgewright"]

FROM ${BASE}
RUN groupadd --system --gid 10001 edgewright \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/edgewright edgewright \
    && usermod --append --groups video edgewright \
    && install --directory --owner=10001 --group=10001 --mode=750 /var/lib/edgewright
COPY --from=build /opt/edgewright /opt/edgewright
COPY docker/watch.py /opt/edgewright/watch.py
ENV PATH=/opt/edgewright/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/edgewright
VOLUME ["/var/lib/edgewright"]
# TensorRT compiles a model for minutes when it meets it first, hence the long start.
ENV EDGEWRIGHT_START_S=1800
HEALTHCHECK --interval=30s --timeout=5s --start-period=1800s --retries=2 CMD ["python3", "/opt/edgewright/watch.py", "check"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "/opt/edgewright/watch.py", "run", "--", "edgewright"]
CMD ["run", "--config", "/etc/edgewright/device.toml"]
