// Command kumo-plugin-keypair is the sample of a plugin with resource types of its
// own: SSH key pairs, which it publishes as files of its folder, and rings of them,
// which are rows alone. It must not import core or web.
package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func main() { pluginsdk.Serve(plugin()) }

func plugin() pluginsdk.Plugin {
	p := &provider{}
	return pluginsdk.Plugin{Manifest: manifest, ResourceProvider: p, Configure: func(_ context.Context, env pluginsdk.Env) error {
		p.dir = env.DataDir
		return nil
	}}
}

// provider publishes keys in a folder.
type provider struct{ dir string }

func (p *provider) file(r *pluginv1.Resource) string { return filepath.Join(p.dir, r.GetUuid()+".pub") }

// publish writes the file of a key pair, and returns what the key says of itself.
func (p *provider) publish(r *pluginv1.Resource, key string) (map[string]*pluginv1.Value, error) {
	if err := pluginsdk.CheckUUID("key pair", r.GetUuid()); err != nil {
		return nil, err
	}
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "public key", err, "it cannot be read")
	}
	if parsed.Type() == "ssh-dss" {
		return nil, errs.New(errs.Refused, "public key", "DSA keys are not safe any more").WithAdvice("make one by ssh-keygen -t ed25519")
	}
	if err := os.WriteFile(p.file(r), []byte(key+"\n"), 0o600); err != nil {
		return nil, errs.Wrap(errs.Internal, "key pair "+r.GetUuid(), err, "publish it")
	}
	return pluginsdk.Values(map[string]any{"fingerprint": ssh.FingerprintSHA256(parsed), "published": time.Now()})
}

func (p *provider) CreateResource(_ context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	r := req.GetResource()
	facts, err := p.publish(r, r.GetValues()["publicKey"].GetText())
	return &pluginv1.CreateResourceResponse{Facts: facts}, err
}

func (p *provider) UpdateResource(_ context.Context, req *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	r := req.GetResource()
	facts, err := p.publish(r, r.GetValues()["publicKey"].GetText())
	return &pluginv1.UpdateResourceResponse{Facts: facts}, err
}

func (p *provider) DeleteResource(_ context.Context, req *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	err := os.Remove(p.file(req.GetResource()))
	if err != nil && !os.IsNotExist(err) {
		return nil, errs.Wrap(errs.Internal, "key pair "+req.GetResource().GetUuid(), err, "withdraw it")
	}
	return &pluginv1.DeleteResourceResponse{}, nil
}

// ActOnResource withdraws keys for a reason: what was published of them is empty.
func (p *provider) ActOnResource(_ context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	if err := os.WriteFile(p.file(req.GetResource()), nil, 0o600); err != nil {
		return nil, errs.Wrap(errs.Internal, "key pair "+req.GetResource().GetUuid(), err, "revoke it")
	}
	facts, err := pluginsdk.Values(map[string]any{"revoked": req.GetParams()["reason"].GetText()})
	return &pluginv1.ActOnResourceResponse{Facts: facts}, err
}
