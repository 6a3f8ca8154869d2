// Command kumo-plugin-keypair is the sample of a plugin with resource types of its
// own: SSH key pairs, which it publishes as files of its folder, and rings of them,
// which are rows alone. It must not import core or web.
package main

import (
	"context"
	"encoding/json"
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
		p.dir, p.core = env.DataDir, env.Core
		return nil
	}}
}

// provider publishes keys in a folder.
type provider struct {
	dir  string
	core pluginsdk.Core
}

func (p *provider) file(r *pluginv1.Resource) string { return filepath.Join(p.dir, r.GetUuid()+".pub") }

// publish writes the file of a key pair, and returns what the key says of itself.
func (p *provider) publish(ctx context.Context, r *pluginv1.Resource, key string) (map[string]*pluginv1.Value, error) {
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
	ring, err := p.ring(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.file(r), []byte(key+ring+"\n"), 0o600); err != nil {
		return nil, errs.Wrap(errs.Internal, "key pair "+r.GetUuid(), err, "publish it")
	}
	return pluginsdk.Values(map[string]any{"fingerprint": ssh.FingerprintSHA256(parsed), "published": time.Now()})
}

// ring is what a published key says of the ring that it hangs on.
func (p *provider) ring(ctx context.Context, r *pluginv1.Resource) (string, error) {
	uuid := r.GetValues()["ringUuid"].GetText()
	if uuid == "" {
		return "", nil
	}
	found, err := p.core.Query(ctx, &pluginv1.QueryRequest{Type: keyRing.Name, Conditions: []string{"uuid=" + uuid}, Fields: []string{"name"},
		As: pluginv1.Caller_CALLER_SYSTEM})
	if err != nil || len(found.GetInventories()) == 0 {
		return "", err
	}
	var ring struct{ Name string }
	err = json.Unmarshal(found.GetInventories()[0], &ring)
	return " on " + ring.Name, err
}

// mark has the ring of a revoked key say so to people.
func (p *provider) mark(ctx context.Context, r *pluginv1.Resource) error {
	uuid := r.GetValues()["ringUuid"].GetText()
	if uuid == "" {
		return nil
	}
	params, err := json.Marshal(map[string]string{"resourceType": keyRing.Name, "resourceUuid": uuid, "tag": "has revoked keys"})
	if err == nil {
		_, err = p.core.Act(ctx, &pluginv1.ActRequest{Message: "APICreateUserTagMsg", Step: "mark", Parameters: params, As: pluginv1.Caller_CALLER_SYSTEM})
	}
	if errs.ClassOf(err) == errs.Exists {
		return nil
	}
	return err
}

func (p *provider) CreateResource(ctx context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	r := req.GetResource()
	facts, err := p.publish(ctx, r, r.GetValues()["publicKey"].GetText())
	return &pluginv1.CreateResourceResponse{Facts: facts}, err
}

func (p *provider) UpdateResource(ctx context.Context, req *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	r := req.GetResource()
	facts, err := p.publish(ctx, r, r.GetValues()["publicKey"].GetText())
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
func (p *provider) ActOnResource(ctx context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	if err := os.WriteFile(p.file(req.GetResource()), nil, 0o600); err != nil {
		return nil, errs.Wrap(errs.Internal, "key pair "+req.GetResource().GetUuid(), err, "revoke it")
	}
	if err := p.mark(ctx, req.GetResource()); err != nil {
		return nil, err
	}
	facts, err := pluginsdk.Values(map[string]any{"revoked": req.GetParams()["reason"].GetText()})
	return &pluginv1.ActOnResourceResponse{Facts: facts}, err
}
