# The service, with its jobs in SQLite, at port 8080 of the container:
#
#   docker build --tag qgswps .
#   docker run --init --publish 8080:8080 \
#       --volume "$PWD/conf/demo:/etc/qgswps/projects:ro" \
#       --volume qgswps:/var/lib/qgswps qgswps
#
# Settings are variables of the environment: --env QGSWPS_<SECTION>_<KEY>=…

FROM debian:12-slim AS build
# The slim image leaves out what the man pages are checked with.
RUN rm -f /etc/dpkg/dpkg.cfg.d/*
RUN apt-get update && apt-get install --yes --no-install-recommends \
    build-essential ca-certificates git python3-pip
COPY . /source
RUN cd /source && tools/deb

FROM debian:12-slim
COPY --from=build /source/dist/*.deb /packages/
RUN apt-get update && apt-get install --yes --no-install-recommends \
    systemd-standalone-sysusers /packages/*.deb \
    && rm -rf /packages /var/lib/apt/lists/* \
    && install --directory --owner=qgswps --group=qgswps --mode=0750 /var/lib/qgswps
ENV QGSWPS_SERVER_INTERFACES=0.0.0.0 \
    QGSWPS_SERVER_STORE=sqlite:////var/lib/qgswps/jobs.sqlite
USER qgswps
WORKDIR /var/lib/qgswps
VOLUME /var/lib/qgswps
EXPOSE 8080
HEALTHCHECK --start-period=60s CMD ["python3", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/readyz')"]
CMD ["/usr/bin/twistd3", "--nodaemon", "--pidfile=", "--logger=qgswps.journal.plain", \
    "qgswps", "--config=/etc/qgswps/qgswps.conf"]
