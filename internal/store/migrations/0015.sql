-- By which delivery a trigger was told of a notice; '' where it need not be told any
-- more, since somebody had acknowledged the incident before it was due. A row outlives
-- delivery and trigger, not the notice.

CREATE TABLE told (
    notice_id   INTEGER NOT NULL REFERENCES notices (id) ON DELETE CASCADE,
    trigger_id  INTEGER NOT NULL,
    delivery_id TEXT    NOT NULL,
    PRIMARY KEY (notice_id, trigger_id)
) WITHOUT ROWID;
