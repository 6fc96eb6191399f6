FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY dstore ./dstore
RUN python -m venv /opt/dstore && /opt/dstore/bin/pip install --no-cache-dir .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/dstore /opt/dstore
COPY LICENSE /usr/share/doc/dstore/LICENSE
RUN useradd --system --uid 10001 --home-dir /var/lib/dstore --shell /usr/sbin/nologin dstore \
    && install --directory --owner dstore --group dstore --mode 0700 /var/lib/dstore
# Assertions are part of the program: the image never sets PYTHONOPTIMIZE and never runs python -O.
ENV PATH=/opt/dstore/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER dstore
WORKDIR /var/lib/dstore
VOLUME /var/lib/dstore
EXPOSE 8000
# Inside the container only 127.0.0.1 is heard unless DSTORE_HOST says otherwise, with DSTORE_TLS_CERT
# and DSTORE_TLS_KEY, or with DSTORE_INSECURE=true where the network is protected otherwise.
ENTRYPOINT ["dstore"]
CMD ["serve", "--data", "/var/lib/dstore"]
