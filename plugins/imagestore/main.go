package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	settingListen      = "listen"
	settingFileFolders = "fileFolders"
	// defaultListen serves readers on the management node itself, which is all
	// that a deployment on one machine needs; nothing is open to the network
	// unless an operator says so.
	defaultListen = "127.0.0.1:0"
)

// version is set by the linker.
var version = "unreleased"

func main() { pluginsdk.Serve(pluginOf(newStore())) }

// pluginOf declares the storage type: message, path and parameters are those
// of the wire catalogue (APIAddImageStoreBackupStorageMsg).
func pluginOf(s *store) pluginsdk.Plugin {
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "imagestore", Version: version,
			Caption:     pluginsdk.Say("Image store", "镜像仓库"),
			Description: "Keeps images in a folder of the management node and serves them to hosts.",
			BackupStorages: []*pluginv1.BackupStorageDecl{{
				Type: "ImageStoreBackupStorage",
				Add: &pluginv1.AddMessage{
					Message:        "APIAddImageStoreBackupStorageMsg",
					Path:           "/backup-storage/image-store",
					InventoryClass: "org.zstack.storage.backup.imagestore.ImageStoreBackupStorageInventory",
					Subtype:        "ImageStoreBackupStorage",
					Query:          true,
					UpdateMessage:  "APIUpdateImageStoreBackupStorageMsg",
					UrlHolds:       "plainpath",
					Caption:        pluginsdk.Say("Image store", "镜像仓库"),
					Doc:            pluginsdk.Say("A folder of the management node that keeps images and serves them to hosts.", "管理节点上保存镜像并向物理机提供镜像的目录。"),
				},
				Fields: fields(),
			}},
			Settings: []*pluginv1.SettingDecl{
				{Name: settingListen, Default: defaultListen, Holds: "endpoint",
					Doc: "Address and port at which images are served, such as 0.0.0.0:7172. The default serves only readers on the management node."},
				{Name: settingFileFolders,
					Doc: "Comma-separated folders of the management node from which administrators may add file:// images. Empty, the default, allows no file."},
			},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			return s.configure(env)
		},
		Close:         s.close,
		BackupStorage: s,
	}
}

func fields() []*pluginv1.Field {
	return []*pluginv1.Field{
		{Name: "hostname", Kind: "string", Required: true, MaxLength: 255, Holds: "host",
			Doc: "Name or address at which hosts reach the management node."},
		{Name: "username", Kind: "string", Required: true, MaxLength: 255,
			Doc: "Accepted for clients that send it; the store is local and needs no login."},
		{Name: "password", Kind: "string", Required: true, Secret: true, MaxLength: 255,
			Doc: "Accepted for clients that send it; the store is local and needs no login."},
		{Name: "sshPort", Kind: "int", Default: "22", Min: 1, Max: 65535,
			Doc: "Accepted for clients that send it; the store is local and needs no login."},
	}
}
