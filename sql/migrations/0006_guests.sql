ALTER TABLE `Host` ADD COLUMN `guests` {{.Long}} NOT NULL DEFAULT 0;
{{.Index "Host" "clusterUuid,guests,lot"}};
UPDATE `Host` SET `guests` = (SELECT COUNT(*) FROM `VmInstance` WHERE `VmInstance`.`hostUuid` = `Host`.`uuid`);
