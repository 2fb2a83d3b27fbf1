-- Events of a container, by its name or the beginning of its id.

CREATE INDEX event_log_container_name ON event_log (container_name, id) WHERE container_name IS NOT NULL;
CREATE INDEX event_log_container_id ON event_log (container_id, id) WHERE container_id IS NOT NULL;
