#!/usr/bin/env bash
# Runs every fuzz target of every module for the time given, one after the other. What is new is not made smaller for long: by default
# that takes up to a minute each time, which is all of the time here.
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
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 100x "$package" </dev/null
done
