#!/usr/bin/env bash
# Runs every fuzz target of every module for the time given, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
fuzztime=${1:-10s}

files='{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}'

go list -f "$files" work | while read -r package file; do
  if [ -n "$package" ]; then
    sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$package \1|p" "$file"
  fi
done | while read -r package target; do
  echo "fuzz $package $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$package" </dev/null
done
