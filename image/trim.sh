#!/bin/sh
# Takes out of a Python environment what the operator never reads, and compiles the rest: trim.sh ENVIRONMENT
set -eu
site="$(echo "$1"/lib/python3*/site-packages)"
# Models of AWS's services: those of STS, IAM and of signing in; there are hundreds.
for data in "$site/botocore/data" "$site/boto3/data"; do
    find "$data" -mindepth 1 -maxdepth 1 -type d \
        ! -name sts ! -name iam ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
done
# The Kubernetes client's second, asynchronous copy of itself.
rm -rf "$site/boto3/examples" "$site/kubernetes/aio"
find "$site" '(' -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' ')' -delete
# Nothing can be written at run time. The sources' times are no longer looked at.
"$1/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site"
