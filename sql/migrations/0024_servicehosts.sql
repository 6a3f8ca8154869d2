CREATE TABLE IF NOT EXISTS `NetworkServiceHostRef` (
  `uuid` {{.UUID}} NOT NULL PRIMARY KEY,
  `createDate` {{.Time}},
  `lastOpDate` {{.Time}},
  `hostUuid` {{.UUID}} NOT NULL DEFAULT '',
  `provider` {{.String 255}} NOT NULL DEFAULT '',
  `revision` {{.String 32}} NOT NULL DEFAULT ''{{.End "NetworkServiceHostRef" "hostUuid"}}
