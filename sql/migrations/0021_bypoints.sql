ALTER TABLE `NetworkServiceProvider` ADD COLUMN `byPoints` {{.Bool}} NOT NULL DEFAULT 0;
