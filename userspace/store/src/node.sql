-- node.db: what survives a reboot.
CREATE TABLE facts (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    position INTEGER PRIMARY KEY,
    net      TEXT    NOT NULL UNIQUE
) STRICT;

-- What a thing of the host was before it was changed; undone from the largest number down.
CREATE TABLE journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key    TEXT    NOT NULL UNIQUE,
    before TEXT    NOT NULL
) STRICT;

-- What other IPAM plugins gave, or were about to give: all that their DEL needs.
CREATE TABLE delegated (
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
