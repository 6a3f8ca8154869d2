ALTER TABLE `ManagementNode` ADD COLUMN `lease` {{.Long}} NOT NULL DEFAULT 60000;
CREATE TABLE IF NOT EXISTS `NodeEpoch` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `number` {{.Long}} NOT NULL DEFAULT 0,
  `ended` {{.Bool}} NOT NULL DEFAULT 0{{.End "NodeEpoch"}}
