ALTER TABLE `ApiJob` RENAME TO `Job`;
{{if eq . "mysql"}}ALTER TABLE `Job` DROP INDEX `ApiJob_createDate`{{else}}DROP INDEX `ApiJob_createDate`{{end}};
{{.Index "Job" "createDate"}};
ALTER TABLE `FlowJournal` RENAME TO `Flow`;
ALTER TABLE `CascadeGarbage` RENAME TO `GCJob`;
ALTER TABLE `Flow` ADD COLUMN `cause` {{.Text}};
ALTER TABLE `Flow` ADD COLUMN `undoCause` {{.Text}};
ALTER TABLE `Flow` ADD COLUMN `ownerUuid` {{.UUID}};
ALTER TABLE `Flow` ADD COLUMN `epoch` {{.Long}} NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS `FlowTrace` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `flowUuid` {{.UUID}} NOT NULL DEFAULT '',
  `job` {{.String 32}},
  `failed` {{.Bool}} NOT NULL DEFAULT 0,
  `trace` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}}{{.End "FlowTrace" "job"}}
ALTER TABLE `GCJob` ADD COLUMN `runnerClass` {{.String 255}} NOT NULL DEFAULT '';
ALTER TABLE `GCJob` ADD COLUMN `context` {{.Text}};
ALTER TABLE `GCJob` ADD COLUMN `status` {{.String 32}} NOT NULL DEFAULT 'Idle';
ALTER TABLE `GCJob` ADD COLUMN `type` {{.String 32}} NOT NULL DEFAULT 'TimeBased';
ALTER TABLE `GCJob` ADD COLUMN `lastOpDate` {{.Time}};
ALTER TABLE `GCJob` ADD COLUMN `managementNodeUuid` {{.UUID}};
ALTER TABLE `GCJob` ADD COLUMN `epoch` {{.Long}} NOT NULL DEFAULT 0;
ALTER TABLE `Job` ADD COLUMN `cause` {{.Text}};
ALTER TABLE `Job` ADD COLUMN `ownerUuid` {{.UUID}};
ALTER TABLE `Job` ADD COLUMN `epoch` {{.Long}} NOT NULL DEFAULT 0;
UPDATE `GCJob` SET `runnerClass` = `resourceType`, `lastOpDate` = `lastTry` WHERE `runnerClass` = '';
