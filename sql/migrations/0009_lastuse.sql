ALTER TABLE `Session` ADD COLUMN `lastUseDate` {{.Time}};
