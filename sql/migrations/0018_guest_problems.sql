CREATE TABLE IF NOT EXISTS `VmInstanceProblem` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}},
  `vmInstanceUuid` {{.UUID}} NOT NULL DEFAULT '',
  `hostUuid` {{.UUID}} NOT NULL DEFAULT '',
  `reason` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}}{{.End "VmInstanceProblem" "vmInstanceUuid" "hostUuid"}}
