-- siolite: what applications need that are not C: asks that outlive their asker, and more.
--
-- SPDX-License-Identifier: MIT

-- ---- counters (docs/metrics.md)

CREATE TABLE t_count (                          -- what happened so far, all processes together
    name           TEXT    NOT NULL,            -- of the metric
    labels         TEXT    NOT NULL DEFAULT '', -- 'status="200"', or nothing
    value          INTEGER NOT NULL DEFAULT 0,  -- grows; each process adds what it counted, about once a second
    PRIMARY KEY (name, labels)                  -- serves count_add
) STRICT, WITHOUT ROWID;
