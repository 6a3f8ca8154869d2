ALTER TABLE `Plugin` ADD COLUMN `canaryVersion` {{.String 255}};
ALTER TABLE `Plugin` ADD COLUMN `canaryZones` {{.Text}};
