# SeaweedFS as an ordinary user with one folder of its own: a small S3 store for one machine. Use your own in earnest.
FROM docker.io/chrislusf/seaweedfs:4.48
USER root
# The image's own filer.toml would put the names of the objects beside our folder.
RUN rm -f /etc/seaweedfs/filer.toml \
 && mkdir /store \
 && chown 10001:10001 /store \
 && chmod 0700 /store
USER 10001:10001
WORKDIR /store
ENTRYPOINT ["/usr/bin/weed"]
