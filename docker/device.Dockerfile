# The runtime of a camera board, for those who prefer a container to `edgewright deploy`. amd64 and arm64.
#
#   edgewright wheelhouse wheels --profile raspberry-pi-5 --python 3.11 --extras onnx,tflite
#   docker build -f docker/device.Dockerfile --platform linux/arm64 -t edgewright-device .
#
# The wheels are chosen, pinned and checked on the workstation; the build needs no package index. docker/README.md has
# the rest.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
ARG WHEELS=wheels
COPY docker/install.py /build/install.py
COPY ${WHEELS} /build/wheels
RUN ["python3", "/build/install.py", "/build/wheels", "/opt/edgewright"]

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --system --gid 10001 edgewright \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/edgewright edgewright \
    && install --directory --owner=10001 --group=10001 --mode=750 /var/lib/edgewright
COPY --from=build /opt/edgewright /opt/edgewright
COPY docker/watch.py /opt/edgewright/watch.py
ENV PATH=/opt/edgewright/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/edgewright
VOLUME ["/var/lib/edgewright"]
# Healthy while frames really flow: `watch.py` is told so by the camera loop itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=2 CMD ["python3", "/opt/edgewright/watch.py", "check"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "/opt/edgewright/watch.py", "run", "--", "edgewright"]
CMD ["run", "--config", "/etc/edgewright/device.toml"]
