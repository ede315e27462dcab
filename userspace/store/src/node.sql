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
