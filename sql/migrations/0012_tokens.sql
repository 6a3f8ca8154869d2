DELETE FROM `Session`;
