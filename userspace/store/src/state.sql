-- state.db: what dies with the kernel. Numbers of states: 0 assigned, 1 cooling, 2 reserved, 3 quarantined.
CREATE TABLE meta (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id    TEXT    NOT NULL,
    generation INTEGER NOT NULL
) STRICT;

CREATE TABLE ranges (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    domain     TEXT    NOT NULL,
    pool       TEXT    NOT NULL,
    first      BLOB    NOT NULL CHECK (length(first) = 16),
    prefix_len INTEGER NOT NULL,
    draining   INTEGER NOT NULL,
    cursor     INTEGER NOT NULL,
    turn       INTEGER NOT NULL,
    UNIQUE (domain, pool, first, prefix_len)
) STRICT;

CREATE TABLE chunks (
    range_id INTEGER NOT NULL REFERENCES ranges (id),
    idx      INTEGER NOT NULL,
    free     INTEGER NOT NULL,
    bits     BLOB    NOT NULL CHECK (length(bits) = 512),
    PRIMARY KEY (range_id, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE addresses (
    domain        TEXT    NOT NULL,
    address       BLOB    NOT NULL CHECK (length(address) = 16),
    state         INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
    owner         TEXT,
    pod_namespace TEXT    NOT NULL,
    pod_name      TEXT    NOT NULL,
    pod_uid       TEXT    NOT NULL,
    note          TEXT    NOT NULL,
    netns         TEXT,
    ifindex       INTEGER NOT NULL,
    generation    INTEGER NOT NULL,
    since         INTEGER NOT NULL,
    confirmed     INTEGER NOT NULL,
    PRIMARY KEY (domain, address),
    CHECK (state <> 0 OR owner IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX held ON addresses (domain, owner, address) WHERE state = 0;
CREATE INDEX cooling ON addresses (domain, since, address) WHERE state = 1;
-- What is reserved for a pod; without it the store works as well, only slower.
CREATE INDEX reserved ON addresses (domain, pod_namespace, pod_name) WHERE note <> '';
