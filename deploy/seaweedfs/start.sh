#!/bin/sh
# SeaweedFS in Compose: the S3 protocol for whoever has the key; on loopback all that asks nobody for one, filer, master
# and volumes.
set -eu
AWS_SECRET_ACCESS_KEY=$(cat /run/secrets/storage_secret_key)
# Without one the S3 server's gRPC port lets everybody make keys; only this process uses it, so each start has another.
WEED_JWT_FILER_SIGNING_KEY=$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)
export AWS_SECRET_ACCESS_KEY WEED_JWT_FILER_SIGNING_KEY
until wget -q -O /dev/null "http://127.0.0.1:8888/buckets/$BUCKET/"; do
  sleep 1
  echo "s3.bucket.create -name $BUCKET" | weed shell -master=127.0.0.1:9333 > /dev/null || true
done 2> /dev/null &
exec weed -logtostderr=true server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 \
  -master.telemetry=false -master.volumeSizeLimitMB=1024 -volume.max=0 -filer \
  -s3 -s3.ip.bind=0.0.0.0 -s3.port=8333 -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0
