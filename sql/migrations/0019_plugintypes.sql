CREATE TABLE IF NOT EXISTS `PluginType` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `name` {{.String 100}} NOT NULL DEFAULT '',
  `plugin` {{.String 64}} NOT NULL DEFAULT '',
  `declaration` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}},
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}}{{.End "PluginType" "unique name"}}
