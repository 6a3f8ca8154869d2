ALTER TABLE `ImageBackupStorageRef` ADD COLUMN `expunging` {{.Bool}} NOT NULL DEFAULT 0;
ALTER TABLE `Volume` ADD COLUMN `expunging` {{.Bool}} NOT NULL DEFAULT 0;
