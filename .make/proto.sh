#!/usr/bin/env bash
# proto.sh : generates the Go of the plugin contract beside its .proto files,
# with the versions of the tools that .tools/go.mod pins.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
(cd .tools && GOBIN=$tools "${GO:-go}" install github.com/bufbuild/buf/cmd/buf \
	google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
(cd pluginsdk/proto && PATH=$tools:$PATH buf generate)
