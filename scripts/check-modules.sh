#!/usr/bin/env bash
# Checks the go.mod file of every module that go.work lists: it is tidy without the workspace, which it can only be
# with a replace line for every sibling it needs; and the core needs nothing but golang.org/x.
set -euo pipefail
cd "$(dirname "$0")/.."

modules=$(go list -m -f '{{.Path}} {{.Dir}}')
status=0
while read -r path dir; do
  if ! (cd "$dir" && GOWORK=off go mod tidy -diff); then
    echo "$path: go.mod or go.sum is not tidy: run GOWORK=off go mod tidy in $dir" >&2
    status=1
  fi
done <<<"$modules"

foreign=$(GOWORK=off go list -m -f '{{if not .Main}}{{.Path}}{{end}}' all | sed '/^golang\.org\/x\//d; /^$/d')
if [ -n "$foreign" ]; then
  echo "the core module may need golang.org/x only, and needs:" >&2
  echo "$foreign" >&2
  status=1
fi
exit $status
