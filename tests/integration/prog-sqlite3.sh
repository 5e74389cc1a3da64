#!/bin/bash
# sqlite3: a table of 60,000 rows, an index, window functions, text search and a recursive query.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need sqlite3
cat >queries.sql <<'SQL'
CREATE TABLE trade(id INTEGER PRIMARY KEY, book TEXT, day INTEGER, price REAL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO trade SELECT i, 'book' || (i * 7919 % 40), i % 250, (i * 104729 % 10007) / 7.0,
    substr('the quick brown fox jumps over the lazy dog', 1 + i % 30) || i FROM n;
CREATE INDEX by_book ON trade(book, day);
SELECT book, day, round(avg(price), 6) FROM (
    SELECT book, day, price, row_number() OVER (PARTITION BY book ORDER BY day, price, id) AS r
    FROM trade) WHERE r <= 50 GROUP BY book, day ORDER BY book, day;
SELECT id, round(sum(price) OVER (PARTITION BY book ORDER BY day, id
        ROWS BETWEEN 20 PRECEDING AND CURRENT ROW), 4),
    ntile(7) OVER (ORDER BY price, id), lag(note, 2) OVER (ORDER BY id)
    FROM trade WHERE id % 11 = 0 ORDER BY 2 DESC, id LIMIT 3000;
SELECT group_concat(note, ',') FROM trade WHERE note GLOB '*fox*' AND id < 4000;
SELECT json_group_array(json_object('b', book, 'n', c)) FROM
    (SELECT book, count(*) AS c FROM trade GROUP BY book ORDER BY book);
WITH RECURSIVE walk(id, depth) AS (SELECT 1, 0 UNION ALL
    SELECT id * 3 % 60000 + 1, depth + 1 FROM walk WHERE depth < 5000)
SELECT sum(t.price), max(depth) FROM walk JOIN trade t USING (id);
SQL
same_output -e queries sqlite3 -batch -init /dev/null :memory: '.read queries.sql'
finish
