CREATE TABLE IF NOT EXISTS `HostCheck` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `hostUuid` {{.UUID}} NOT NULL DEFAULT '',
  `name` {{.String 128}} NOT NULL DEFAULT '',
  `resourceUuid` {{.UUID}} NOT NULL DEFAULT '',
  `required` {{.Bool}} NOT NULL DEFAULT 0,
  `state` {{.String 32}} NOT NULL DEFAULT '',
  `reason` {{.Text}},
  `sinceDate` {{.Time}},
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}}{{.End "HostCheck" "unique hostUuid,name,resourceUuid"}}
ALTER TABLE `PrimaryStorageHostRef` ADD COLUMN `fresh` {{.Bool}} NOT NULL DEFAULT 0;
