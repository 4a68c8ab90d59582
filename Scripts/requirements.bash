# Sourced by the scripts beside it: what they need, installed where that is possible and named where it isn't.

# need COMMAND_OR_FILE=PACKAGE … : installs the packages of what is missing, or says which they are.
need() {
  local missing=() pair thing package
  for pair in "$@"; do
    thing=${pair%%=*} package=${pair#*=}
    if [[ $thing == /* ]]; then [[ -e $thing ]] || missing+=("$package")
    else command -v "$thing" >/dev/null || missing+=("$package"); fi
  done
  [[ ${#missing[@]} -eq 0 ]] && return
  if [[ $(id -u) -ne 0 ]]; then
    echo "Please install: ${missing[*]}" >&2
    echo "  sudo apt-get install -y ${missing[*]}" >&2
    exit 69
  fi
  echo "installing ${missing[*]}"
  # A package manager must not start a server of its own: ours have their own ports and folders.
  local policy=/usr/sbin/policy-rc.d made=no
  if [[ ! -e $policy ]]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=yes; fi
  local log; log=$(mktemp)
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    [[ $made == yes ]] && rm -f $policy
    cat "$log" >&2; rm -f "$log"
    echo "installing ${missing[*]} failed" >&2
    exit 69
  fi
  [[ $made == yes ]] && rm -f $policy
  rm -f "$log"
}

# What the build needs besides Swift 6.3.
need_for_build() {
  command -v swift >/dev/null || { echo "Please install Swift 6.3: https://www.swift.org/install/linux" >&2; exit 69; }
  need /usr/include/hiredis/read.h=libhiredis-dev /usr/include/sqlite3.h=libsqlite3-dev /usr/include/zlib.h=zlib1g-dev \
    /usr/include/zstd.h=libzstd-dev /usr/include/brotli/decode.h=libbrotli-dev \
    /usr/include/postgresql/libpq-fe.h=libpq-dev git=git
}

# How executables are built: as in the image, so that what is tested and measured is what runs elsewhere. Swift's runtime is linked in: there is
# nothing to be installed beside it, and a push takes a fifteenth less than where each call into the runtime goes over a table.
release=(-c release --static-swift-stdlib)
