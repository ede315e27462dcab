CREATE TABLE IF NOT EXISTS delegated (
    network   TEXT    NOT NULL,
    container TEXT    NOT NULL,
    ifname    TEXT    NOT NULL,
    plugin    TEXT    NOT NULL,
    conf      BLOB    NOT NULL,
    args      TEXT    NOT NULL,
    path      TEXT    NOT NULL,
    boot_id   TEXT    NOT NULL,
    since     INTEGER NOT NULL,
    result    TEXT,
    PRIMARY KEY (network, container, ifname)
) STRICT, WITHOUT ROWID;
