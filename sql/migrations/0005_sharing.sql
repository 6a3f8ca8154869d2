ALTER TABLE `ResourceConfig` ADD COLUMN `accountUuid` {{.UUID}} NOT NULL DEFAULT '';
{{.Index "ResourceConfig" "accountUuid"}};
CREATE TABLE IF NOT EXISTS `SharedResource` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `ownerAccountUuid` {{.UUID}} NOT NULL DEFAULT '',
  `receiverAccountUuid` {{.UUID}},
  `toPublic` {{.Bool}} NOT NULL DEFAULT 0,
  `resourceType` {{.String 64}} NOT NULL DEFAULT '',
  `resourceUuid` {{.UUID}} NOT NULL DEFAULT '',
  `lastOpDate` {{.Time}},
  `createDate` {{.Time}}{{.End "SharedResource" "ownerAccountUuid" "receiverAccountUuid" "toPublic" "resourceUuid" "resourceUuid,receiverAccountUuid"}}
