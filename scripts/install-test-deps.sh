#!/usr/bin/env bash
# Sees to it that the programs and libraries that the tests use are there, and with the argument bench those of the benchmarks too. As
# root on Debian it installs what is missing; else it says what is. With CI set, what is still missing at the end is a failure; without,
# the tests that need it skip, and the benchmarks leave it out.
set -euo pipefail
PATH=$PATH:/usr/sbin # where Debian has nginx

# A program that the tests run, and the Debian package that has it. What the machine has in another way is not
# installed again. javac stands for a JDK, which runs a .java file as it is.
needs=(
  "cc gcc"
  "pkg-config pkg-config"
  "openssl openssl"
  "curl curl"
  "gnutls-cli gnutls-bin"
  "python3 python3"
  "node nodejs"
  "javac default-jdk-headless"
  "redis-server redis-server"
  "redis-cli redis-tools"
  "tstclnt libnss3-tools"
)

if [ "${1:-}" = bench ]; then
  needs+=("nginx nginx")
fi

# A library that the tests compile C against, by the name that pkg-config knows, and the Debian package that has its headers. What libssl
# does was recorded of 3.0.22; 3.0.19 resumes a TLS 1.3 session less.
libraries=(
  "openssl >= 3.0.22 libssl-dev"
  "wolfssl libwolfssl-dev"
)

# A header that the tests include, and the Debian package that has it: of libraries that pkg-config does not know.
headers=(
  "mbedtls/ssl.h libmbedtls-dev"
)

missing() {
  local need
  for need in "${needs[@]}"; do
    command -v "${need% *}" >/dev/null || echo "${need#* }"
  done
  for need in "${libraries[@]}"; do
    pkg-config --exists "${need% *}" 2>/dev/null || echo "${need##* }"
  done
  for need in "${headers[@]}"; do
    echo "#include <${need% *}>" | cc -E - >/dev/null 2>&1 || echo "${need#* }"
  done
}

# install_quietly installs packages and starts none of their services, neither now nor at the next boot: a Redis or nginx on its
# usual port is nothing that a test wants. Debian asks policy-rc.d before it starts a service; 101 means no.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
  local service
  for service in redis-server nginx; do
    if [[ " $* " == *" $service "* ]] && command -v systemctl >/dev/null; then
      systemctl --quiet disable "$service" || true
    fi
  done
}

read -r -d '' -a packages < <(missing) || true
if [ ${#packages[@]} -eq 0 ]; then
  exit 0
fi

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${packages[*]}"
  install_quietly "${packages[@]}" || true
  read -r -d '' -a packages < <(missing) || true
fi

if [ ${#packages[@]} -gt 0 ]; then
  echo "Missing: ${packages[*]}" >&2
  echo "On Debian, install them with: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
  if [ -n "${CI:-}" ]; then
    exit 1
  fi
  echo "Tests that need them are skipped, and benchmarks leave them out." >&2
fi
