#!/bin/sh
# Installs the Debian packages named, with all security updates, and leaves no lists behind: apt.sh PACKAGE...
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get upgrade --yes --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends "$@"
apt-get clean
rm -rf /var/lib/apt/lists/*
