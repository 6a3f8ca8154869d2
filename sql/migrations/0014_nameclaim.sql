ALTER TABLE `VmInstance` ADD COLUMN `nameClaim` {{.String 128}};
{{.Index "VmInstance" "unique nameClaim"}};
