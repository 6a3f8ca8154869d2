CREATE TABLE IF NOT EXISTS `PluginSecret` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `plugin` {{.String 64}} NOT NULL DEFAULT '',
  `name` {{.String 64}} NOT NULL DEFAULT '',
  `secretValue` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}},
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}}{{.End "PluginSecret" "unique plugin,name"}}
CREATE TABLE IF NOT EXISTS `TrustAuthority` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `name` {{.String 32}} NOT NULL DEFAULT '',
  `certificate` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}},
  `privateKey` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}},
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}}{{.End "TrustAuthority" "unique name"}}
