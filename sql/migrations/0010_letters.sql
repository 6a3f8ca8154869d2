-- Texts compare by their letters (sql/letters.go). On SQLite the order of the
-- indexes changes for letters beyond ASCII, and names of accounts may have become
-- the same: the younger ones get a part of their uuid.
{{if eq . "sqlite"}}
DROP INDEX IF EXISTS `Account_name_unique`;
UPDATE `Account` SET `name` = substr(`name`, 1, 240) || '-' || substr(`uuid`, 1, 8) WHERE EXISTS
  (SELECT 1 FROM `Account` o WHERE o.`name` = `Account`.`name` AND (o.`createDate` < `Account`.`createDate` OR o.`createDate` = `Account`.`createDate` AND o.`uuid` < `Account`.`uuid`));
{{.Index "Account" "unique name"}};
REINDEX NOCASE;
{{end}}
{{.Letters "Account" "unique name"}}
{{.Letters "BackupStorage" "name"}}
{{.Letters "Cluster" "name"}}
{{.Letters "DiskOffering" "name"}}
{{.Letters "Host" "name"}}
{{.Letters "Image" "name"}}
{{.Letters "InstanceOffering" "name"}}
{{.Letters "IpRange" "name"}}
{{.Letters "L2Network" "name"}}
{{.Letters "L3Network" "name"}}
{{.Letters "NetworkServiceProvider" "name"}}
{{.Letters "PrimaryStorage" "name"}}
{{.Letters "SshKeyPair" "name"}}
{{.Letters "VmCdRom" "name"}}
{{.Letters "VmInstance" "name"}}
{{.Letters "Volume" "name"}}
{{.Letters "Zone" "name"}}
