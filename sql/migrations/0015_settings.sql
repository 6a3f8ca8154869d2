ALTER TABLE `GlobalConfig` ADD COLUMN `sealed` {{.Text}};
ALTER TABLE `ResourceConfig` ADD COLUMN `sealed` {{.Text}};
