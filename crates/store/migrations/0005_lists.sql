-- Lists are narrowed without reading the rows that are not on them.

CREATE INDEX application_by_search ON application (workspace, name, id, search, consumer);
DROP INDEX application_by_name;
CREATE INDEX consumer_by_search ON consumer (workspace, name, search, id);
CREATE INDEX consumer_group_by_name ON consumer_group (name, consumer);
