# alle as one static binary in an empty image, by an unprivileged user.
#
#   docker build -t alle --build-arg ALLE_BUILD_COMMIT="$(git rev-parse --short=10 HEAD)" .
#   docker run -p 127.0.0.1:8080:8080 -e POSTGRES_URL=postgresql://app@db.example/app alle
#
# The binary is that of `make static`: resolving names needs no library of the image.

FROM rust:1-bookworm AS build
WORKDIR /alle
COPY . .
# .git is not in the build context: who builds names the commit.
ARG ALLE_BUILD_COMMIT=""
ENV ALLE_BUILD_COMMIT=$ALLE_BUILD_COMMIT
RUN make static

FROM scratch
# For sslrootcert=system.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /alle/target/alle /alle
USER 65532:65532
# The address of the container alone; what is published of it, `docker run -p` says.
ENV WS_BIND_ADDR=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s CMD ["/alle", "health"]
ENTRYPOINT ["/alle"]
