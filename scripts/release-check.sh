#!/usr/bin/env bash
# Tries what a release does, in a clone of HEAD. Module by module, those that others need first: drop the replace
# lines, require the siblings at the new version, tidy, vet, commit, tag. Then use the tags as a stranger would: require
# every module from a fresh one, build all packages, and install the program by its path and version.
#
# The go command itself reads the tags, from the clone in the place of the public repository. All other modules come
# from this machine's module cache or its usual proxy.
set -euo pipefail
cd "$(dirname "$0")/.."

repository=github.com/reprise-tls/reprise
version=${1:-v0.0.0-releasecheck}
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT

if [ -n "$(git status --porcelain)" ]; then
  echo "note: what is not committed is left out" >&2
fi
git clone --quiet . "$work/release"
cd "$work/release"
git config user.name release-check
git config user.email release-check@localhost
list=$(go list -m)
mapfile -t modules <<<"$list"

GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
export GOPROXY GOMODCACHE="$work/modules" GOPRIVATE="$repository" GOWORK=off GOFLAGS=-buildvcs=false
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$work/release.insteadOf" GIT_CONFIG_VALUE_0="https://$repository"

# subdir MODULE prints the folder of MODULE in the repository, nothing for the root.
subdir() {
  local rest=${1#"$repository"}
  echo "${rest#/}"
}

# siblings MODULE prints the modules of this repository that MODULE requires.
siblings() {
  local sibling
  for sibling in "${modules[@]}"; do
    go -C "./$(subdir "$1")" mod edit -print |
      awk -v m="$sibling" '$1 == "require" && $2 == m || $1 == m && $2 ~ /^v/ { print m }'
  done
}

# drop_replaces takes the replace lines for siblings out of every module.
drop_replaces() {
  local module sibling
  for module in "${modules[@]}"; do
    for sibling in "${modules[@]}"; do
      go -C "./$(subdir "$module")" mod edit -dropreplace="$sibling"
    done
  done
}

# needed_first prints the modules so that each comes after those that it requires; it fails if they form a circle.
needed_first() {
  local module sibling
  for module in "${modules[@]}"; do
    echo "$module $module"
    for sibling in $(siblings "$module"); do
      echo "$sibling $module"
    done
  done | tsort
}

# release MODULE makes MODULE fit for publication and tags it.
release() {
  local dir sibling
  dir=$(subdir "$1")
  echo "release $1"
  for sibling in $(siblings "$1"); do
    go -C "./$dir" mod edit -require="$sibling@$version"
  done
  go -C "./$dir" mod tidy
  go -C "./$dir" vet ./...
  git commit --quiet --all --allow-empty --message "release $1 $version"
  git tag "${dir:+$dir/}$version"
}

# use_as_stranger builds every package of the tagged modules from a module that knows nothing of this repository.
use_as_stranger() {
  echo "use every module from a fresh one"
  mkdir "$work/stranger"
  cd "$work/stranger"
  go mod init example.com/stranger
  go get "${modules[@]/%/@$version}"
  go build "$repository/..."
  case " ${modules[*]} " in
    *" $repository/cmd/reprise "*) GOBIN="$work/bin" go install "$repository/cmd/reprise@$version" ;;
  esac
}

drop_replaces
order=$(needed_first)
for module in $order; do
  release "$module"
done
use_as_stranger
echo "release-check: all ${#modules[@]} modules build as $version"
