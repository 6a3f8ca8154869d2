#!/usr/bin/env bash
# lint.sh : every check that needs no running part. Makes all of them and fails
# at the end when one did.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

GO=${GO:-go}
TOOL=("$GO" tool "-modfile=$ROOT/.tools/go.mod")
PROTO=pluginsdk/proto

format() {
	local bad
	bad=$(find . -name '*.go' ! -name '*.pb.go' -not -path './.*' -print0 | xargs -0 -r gofmt -l)
	[ -z "$bad" ] || die "not formatted (run gofmt -w on them): $bad"
}

# proto_base prints the last commit of main that touched the plugin contract. In
# a clone without a branch main, such as a CI's, HEAD stands for it.
proto_base() {
	local branch
	for branch in origin/main main HEAD; do
		git rev-parse -q --verify "$branch^{commit}" >/dev/null || continue
		git log -1 --format=%H "$branch" -- "$PROTO"
		return
	done
}

# breaking compares the contract with the committed one. The old files come out
# of git by "git archive", which works in a clone of a single commit too.
breaking() ( # a shell of its own, for the trap
	base=$(proto_base)
	if [ -z "$base" ]; then
		say "  no earlier contract to compare with"
		exit
	fi
	old=$(mktemp -d)
	trap 'rm -rf "$old"' EXIT
	git archive "$base" "$PROTO" | tar -x -C "$old"
	buf breaking --against "$old/$PROTO"
)

# unused lists functions that no program and no test reaches.
unused() {
	local list
	list=$("${TOOL[@]}" deadcode -test -tags storm,attack ./...) || return
	[ -z "$list" ] || die "nothing uses these: $list"
}

buf() { (cd "$PROTO" && "${TOOL[@]}" buf "$@"); }

failed=()

# step NAME COMMAND... makes one check and says how long it took.
step() {
	local name=$1 began
	shift
	began=$(now_ms)
	if ("$@"); then
		say "lint: $name, $(seconds_since "$began") s"
	else
		say "lint: $name FAILED, $(seconds_since "$began") s"
		failed+=("$name")
	fi
}

step "gofmt" format
# The storms are built with a tag, so that the tests are the same each time.
step "go vet" "$GO" vet -tags storm,attack ./...
step "staticcheck" "${TOOL[@]}" staticcheck -tags storm,attack ./...
step "deadcode" unused
step "house rules" "$GO" test -count=1 ./integration/house
step "buf lint" buf lint
step "buf breaking" breaking
[ ${#failed[@]} = 0 ] || die "lint: $(printf '%s, ' "${failed[@]}" | sed 's/, $//') failed"
