# One image for every Skyharbor process; the command says which. Built from the top of the checkout:
#     docker build -f deploy/images/skyharbor.Dockerfile -t skyharbor .
FROM docker.io/library/python:3.13-slim-bookworm AS build
WORKDIR /src
COPY deploy/images/requirements.lock ./
RUN python -m venv /opt/skyharbor \
 && /opt/skyharbor/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY orchestrator ./orchestrator
COPY workers ./workers
COPY shared ./shared
RUN /opt/skyharbor/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM docker.io/library/python:3.13-slim-bookworm
RUN groupadd --gid 10001 skyharbor \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/skyharbor --shell /usr/sbin/nologin skyharbor \
 && install -d -o 10001 -g 10001 -m 0700 \
        /var/lib/skyharbor /var/lib/skyharbor/worker /var/lib/skyharbor/keyring /var/lib/skyharbor/restored
COPY --from=build /opt/skyharbor /opt/skyharbor
ENV PATH=/opt/skyharbor/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SKYHARBOR_HOME=/var/lib/skyharbor
USER 10001:10001
WORKDIR /var/lib/skyharbor
ENTRYPOINT ["skyharbor"]
CMD ["--help"]
