//! What every contender runs: phases of SQL statements, the same for all of them.

/// What the statements depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Rows of the table; the mix takes half as many for each of its tables.
    pub(crate) rows: u64,
    /// Bytes of SQLite's pages.
    pub(crate) page_size: u32,
    /// A write-ahead log instead of a rollback journal.
    pub(crate) log: bool,
}

/// A part of the work that is measured by itself.
pub(crate) struct Phase {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// What counts: the processor's time, or the clock's.
    pub(crate) clock: bool,
    /// Whether a connection of its own begins here, with nothing in its cache.
    pub(crate) reopens: bool,
    /// Whether a database of its own begins here.
    pub(crate) new_database: bool,
    /// Statements before the measurement.
    pub(crate) before: Vec<String>,
    /// Statements that are measured.
    pub(crate) statements: Vec<String>,
}

/// Statements that every connection begins with.
pub(crate) fn pragmas(scale: Scale) -> Vec<String> {
    vec![
        format!("PRAGMA page_size={}", scale.page_size),
        format!(
            "PRAGMA journal_mode={}",
            if scale.log { "WAL" } else { "DELETE" }
        ),
        "PRAGMA synchronous=OFF".to_owned(),
        "PRAGMA temp_store=FILE".to_owned(),
        // Reads the schema.
        "SELECT count(*) FROM sqlite_schema".to_owned(),
    ]
}

/// The phases in order.
pub(crate) fn phases(scale: Scale) -> Vec<Phase> {
    let n = scale.rows;
    let phase = |name, statements: Vec<String>| Phase {
        name,
        clock: false,
        reopens: false,
        new_database: false,
        before: Vec::new(),
        statements,
    };
    let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    vec![
        Phase {
            new_database: true,
            before: text(&[
                "CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, s TEXT, b BLOB)",
                "CREATE INDEX t_k ON t(k)",
                "CREATE TABLE log(id INTEGER PRIMARY KEY, s TEXT)",
            ]),
            ..phase(
                "bulk insert",
                vec![
                    "BEGIN".to_owned(),
                    format!(
                        "WITH c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<{n}) \
                         INSERT INTO t SELECT x, {}, printf('row %d of %d', x, {n}), zeroblob(120) FROM c",
                        hash("x", n)
                    ),
                    "COMMIT".to_owned(),
                ],
            )
        },
        phase("small commits", small_commits(2000, 0)),
        Phase {
            clock: true,
            before: text(&["PRAGMA synchronous=FULL"]),
            ..phase("small commits, synced (clock)", small_commits(60, 10_000))
        },
        Phase {
            before: text(&[
                "PRAGMA synchronous=OFF",
                "SELECT count(*) FROM t WHERE id % 7 = 0",
            ]),
            ..phase(
                "point reads, a transaction each",
                (0..4000u64)
                    .map(|i| {
                        let id = i * 2_654_435_761 % n + 1;
                        format!("SELECT k FROM t WHERE id={id}")
                    })
                    .collect(),
            )
        },
        Phase {
            reopens: true,
            before: text(&["PRAGMA cache_size=10"]),
            ..phase(
                "point reads, no page cache",
                vec![format!(
                    "WITH c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<{}) \
                     SELECT sum(length(t.b)) FROM c CROSS JOIN t ON t.id = {}",
                    n / 4,
                    hash("x", n)
                )],
            )
        },
        phase(
            "full scan, no page cache",
            vec!["SELECT sum(length(s)) FROM t NOT INDEXED".to_owned(); 6],
        ),
        Phase {
            reopens: true,
            ..phase(
                "updates",
                vec![
                    "BEGIN".to_owned(),
                    format!(
                        "WITH c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<{}) \
                         UPDATE t SET s = s || 'x' WHERE id IN (SELECT {} FROM c)",
                        n / 4,
                        hash("x", n)
                    ),
                    format!(
                        "UPDATE t SET k = k + 1 WHERE id % 10 = 0 AND id < {}",
                        n / 2
                    ),
                    "COMMIT".to_owned(),
                ],
            )
        },
        phase("VACUUM", text(&["VACUUM"])),
        Phase {
            new_database: true,
            ..phase("mix", mix(n / 2))
        },
    ]
}

/// Transactions of one row each.
fn small_commits(count: u64, first: u64) -> Vec<String> {
    (first..first + count)
        .map(|id| format!("INSERT INTO log VALUES({id}, 'a line of text about event {id}')"))
        .collect()
}

/// A number between 1 and `n`, as an SQL expression.
fn hash(x: &str, n: u64) -> String {
    format!("(({x})*2654435761)%{n}+1")
}

/// The cases of SQLite's `speedtest1`, main set, in its order and proportions, each loop of prepared statements as one
/// statement over a series.
fn mix(n: u64) -> Vec<String> {
    let big = n * 4;
    let few = n / 10;
    let c = |count: u64| {
        format!(
            "WITH c(x) AS MATERIALIZED (WITH s(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM s WHERE x<{count}) SELECT x FROM s)"
        )
    };
    let words = |x: &str| {
        format!(
            "printf('%d thousand %d hundred %d and %x', ({x})/1000, ({x})/100%10, ({x})%100, {x})"
        )
    };
    let h = hash("x", big);
    let row = format!("{h}, {}", words(&h));
    let mut all = Vec::new();
    let mut add = |text: String| all.push(text);
    let transaction = |add: &mut dyn FnMut(String), texts: Vec<String>| {
        add("BEGIN".to_owned());
        texts.into_iter().for_each(&mut *add);
        add("COMMIT".to_owned());
    };
    // 100, 110, 120: inserts.
    transaction(
        &mut add,
        vec![
            "CREATE TABLE z1(a INTEGER, b INTEGER, c TEXT)".to_owned(),
            format!("{} INSERT INTO z1 SELECT x, {row} FROM c", c(n)),
        ],
    );
    transaction(
        &mut add,
        vec![
            "CREATE TABLE z2(a INTEGER UNIQUE, b INTEGER, c TEXT)".to_owned(),
            format!("{} INSERT INTO z2 SELECT x, {row} FROM c", c(n)),
        ],
    );
    transaction(
        &mut add,
        vec![
            "CREATE TABLE t3(a INTEGER UNIQUE, b INTEGER, c TEXT)".to_owned(),
            format!(
                "{} INSERT OR REPLACE INTO t3 SELECT {h}, x, {} FROM c",
                c(n),
                words("x")
            ),
        ],
    );
    // 130, 140, 142, 145: selects without an index.
    for i in 0..25u64 {
        let low = i * big / 50;
        add(format!(
            "SELECT count(*), avg(b), sum(length(c)) FROM z1 WHERE b BETWEEN {low} AND {}",
            low + big / 10
        ));
    }
    for i in 0..10u64 {
        add(format!(
            "SELECT count(*), avg(b) FROM z1 WHERE c LIKE '%{i} hundred {}%'",
            i * 7
        ));
        add(format!(
            "SELECT a, b, c FROM z1 WHERE c LIKE '%{i} hundred%' ORDER BY a"
        ));
        add(format!(
            "SELECT a, b, c FROM z1 WHERE c LIKE '%{i} hundred%' ORDER BY a LIMIT 10"
        ));
    }
    // 150: indexes.
    transaction(
        &mut add,
        vec![
            "CREATE UNIQUE INDEX t1b ON z1(b, a)".to_owned(),
            "CREATE INDEX t1c ON z1(c)".to_owned(),
            "CREATE UNIQUE INDEX t2b ON z2(b, a)".to_owned(),
            "CREATE INDEX t2c ON z2(c DESC)".to_owned(),
            "CREATE INDEX t3bc ON t3(b, c)".to_owned(),
        ],
    );
    // 160, 161, 170: selects with an index.
    for (table, column) in [("z1", "b"), ("z2", "a")] {
        add(format!(
            "{} SELECT sum((SELECT count(*) + sum(length(c)) FROM {table} WHERE {column} BETWEEN {h} AND {h}+20)) FROM c",
            c(n / 5)
        ));
    }
    add(format!(
        "{} SELECT sum((SELECT count(*) FROM z1 WHERE c BETWEEN {w} AND {w}||'~')) FROM c",
        c(n / 5),
        w = words(&h)
    ));
    // 180, 190: inserts with three indexes; delete and refill.
    transaction(
        &mut add,
        vec![
            "CREATE TABLE t4(a INTEGER UNIQUE, b INTEGER, c TEXT)".to_owned(),
            "CREATE INDEX t4b ON t4(b)".to_owned(),
            "CREATE INDEX t4c ON t4(c)".to_owned(),
            "INSERT INTO t4 SELECT a, b, c FROM z1".to_owned(),
        ],
    );
    transaction(
        &mut add,
        vec![
            "DELETE FROM z2".to_owned(),
            "INSERT INTO z2 SELECT a, b, c FROM z1".to_owned(),
        ],
    );
    // 200, 210: VACUUM, ALTER.
    add("VACUUM".to_owned());
    add("ALTER TABLE z2 ADD COLUMN d INT DEFAULT 123".to_owned());
    add("SELECT sum(d) FROM z2".to_owned());
    // 230, 240, 250: updates.
    transaction(
        &mut add,
        vec![format!(
            "{} UPDATE z2 SET d = b*2 FROM c WHERE z2.b BETWEEN {h} AND {h}+20",
            c(few)
        )],
    );
    transaction(
        &mut add,
        vec![format!(
            "{} UPDATE z2 SET d = b*3 WHERE a IN (SELECT {} FROM c)",
            c(n),
            hash("x", n)
        )],
    );
    transaction(&mut add, vec!["UPDATE z2 SET d = b*4".to_owned()]);
    add("SELECT sum(d) FROM z2".to_owned());
    // 270, 280: deletes.
    transaction(
        &mut add,
        vec![format!(
            "{} DELETE FROM z2 WHERE a IN (SELECT z2.a FROM c CROSS JOIN z2 ON z2.b BETWEEN {h} AND {h}+20)",
            c(few)
        )],
    );
    transaction(
        &mut add,
        vec![format!(
            "{} DELETE FROM t3 WHERE a IN (SELECT {h} FROM c WHERE x%2)",
            c(n)
        )],
    );
    // 290, 300: refills.
    transaction(
        &mut add,
        vec![
            "REPLACE INTO z2(a, b, c) SELECT a, b, c FROM z1".to_owned(),
            "REPLACE INTO t3(a, b, c) SELECT a, b, c FROM z1".to_owned(),
        ],
    );
    transaction(
        &mut add,
        vec![
            "DELETE FROM z2".to_owned(),
            "INSERT INTO z2(a, b, c) SELECT a, b, c FROM z1 ORDER BY c".to_owned(),
        ],
    );
    // 310, 320: joins and subqueries.
    add(format!(
        "{} SELECT sum(length(t4.c)) FROM c CROSS JOIN z1 ON z1.rowid = {} CROSS JOIN z2 ON z2.a = z1.a \
         CROSS JOIN t3 ON t3.a = z2.a CROSS JOIN t4 ON t4.a = t3.a",
        c(few),
        hash("x", n)
    ));
    add("SELECT sum(a), max(c), avg((SELECT a FROM z2 WHERE 5+z2.b = z1.b)) FROM z1 WHERE rowid < 200".to_owned());
    // 400, 410: REPLACE and SELECT by row number; 500, 510: the same by text.
    transaction(
        &mut add,
        vec![
            "CREATE TABLE t5(a INTEGER PRIMARY KEY, b TEXT)".to_owned(),
            format!(
                "{} REPLACE INTO t5 SELECT {}, {} FROM c",
                c(n * 7 / 5),
                hash("x", n),
                words("x")
            ),
        ],
    );
    add(format!(
        "{} SELECT sum(length(t5.b)) FROM c CROSS JOIN t5 ON t5.a = {}",
        c(n * 7 / 5),
        hash("x", n)
    ));
    transaction(
        &mut add,
        vec![
            "CREATE TABLE t6(a TEXT PRIMARY KEY, b INTEGER) WITHOUT ROWID".to_owned(),
            format!(
                "{} REPLACE INTO t6 SELECT {}, x FROM c",
                c(n * 7 / 5),
                words(&hash("x", n))
            ),
        ],
    );
    add(format!(
        "{} SELECT sum(t6.b) FROM c CROSS JOIN t6 ON t6.a = {}",
        c(n * 7 / 5),
        words(&hash("x", n))
    ));
    add("SELECT count(*) FROM (SELECT DISTINCT b FROM t5)".to_owned());
    // 980, 990.
    add("PRAGMA integrity_check".to_owned());
    add("ANALYZE".to_owned());
    all
}
