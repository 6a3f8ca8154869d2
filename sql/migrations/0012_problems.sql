CREATE TABLE IF NOT EXISTS `L3NetworkProblem` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}},
  `l3NetworkUuid` {{.UUID}} NOT NULL DEFAULT '',
  `hostUuid` {{.UUID}} NOT NULL DEFAULT '',
  `reason` {{.Text}} NOT NULL DEFAULT {{.TextDefault ""}}{{.End "L3NetworkProblem" "l3NetworkUuid" "hostUuid"}}
