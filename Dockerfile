# The operator's image: one for controller and worker, without a shell or a package manager, run as a number.
#
#     docker build --tag spacelift-aws-operator .
#
# The final file system is made of the files of a few Debian packages (image/rootfs.sh), an environment from uv.lock and
# the masking helper. Where package registries are mirrored, two secrets lead the build there and leave no trace:
# `--secret id=registry,src=FILE` with shell lines like `export UV_INDEX_URL=…`, and `--secret id=ca,src=BUNDLE`, a bundle
# of certificate authorities under which everything is verified. apt keeps to what BASE says.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS tools
COPY image/apt.sh image/requirements.txt /build/
RUN sh /build/apt.sh ca-certificates netbase python3 python3-venv
RUN --mount=type=secret,id=registry --mount=type=secret,id=ca \
    if [ -e /run/secrets/registry ]; then . /run/secrets/registry; fi; \
    if [ -e /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /build/tools && \
    /build/tools/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
    --requirement /build/requirements.txt

FROM tools AS environment
COPY pyproject.toml uv.lock /src/
COPY cli/pyproject.toml /src/cli/
COPY dev/pyproject.toml /src/dev/
# The dependencies alone: they change less often than the operator.
RUN --mount=type=secret,id=registry --mount=type=secret,id=ca \
    if [ -e /run/secrets/registry ]; then . /run/secrets/registry; fi; \
    if [ -e /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    cd /src && UV_PROJECT_ENVIRONMENT=/opt/spacelift-aws UV_PYTHON=/usr/bin/python3 UV_NO_CACHE=1 \
    /build/tools/bin/uv sync --quiet --locked --no-dev --extra tracing --no-install-workspace --link-mode=copy
COPY README.md LICENSE /src/
COPY operator/spacelift_aws /src/operator/spacelift_aws
COPY image/trim.sh /build/
RUN --mount=type=secret,id=registry --mount=type=secret,id=ca \
    if [ -e /run/secrets/registry ]; then . /run/secrets/registry; fi; \
    if [ -e /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    cd /src && UV_PROJECT_ENVIRONMENT=/opt/spacelift-aws UV_PYTHON=/usr/bin/python3 UV_NO_CACHE=1 \
    /build/tools/bin/uv sync --quiet --locked --no-dev --extra tracing --no-editable --link-mode=copy && \
    sh /build/trim.sh /opt/spacelift-aws

FROM tools AS mask
ARG TARGETARCH
COPY operator/mask /src
RUN cd /src && CGO_ENABLED=0 GOOS=linux GOARCH="${TARGETARCH}" GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
    "$(echo /build/tools/lib/python3*/site-packages/go/bin/go)" \
    build -trimpath -buildvcs=false -ldflags "-s -w" -o /usr/local/bin/spacelift-aws-mask .

FROM tools AS rootfs
COPY image/rootfs.sh /build/
RUN sh /build/rootfs.sh /rootfs

FROM scratch
COPY --from=rootfs /rootfs /
COPY --from=environment /opt/spacelift-aws /opt/spacelift-aws
COPY --from=mask /usr/local/bin/spacelift-aws-mask /usr/local/bin/spacelift-aws-mask
# Memory that is freed is overwritten: answers of STS do not stay in it.
ENV PATH=/opt/spacelift-aws/bin:/usr/local/bin:/usr/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GLIBC_TUNABLES=glibc.malloc.perturb=165:glibc.malloc.tcache_count=0
USER 65532:65532
ENTRYPOINT ["spacelift-aws"]
