/*
 * scenes.c - the statements of sweep.h: each feature, in each state that it tells
 * apart.
 */
#include "sweep.h"

/* Runs in the index, and dead records. */
#define MAKE_RUNS                                                                      \
    "REPLACE INTO kv VALUES(10, zeroblob(600)), (11, 11), (12, zeroblob(800)), (13, "  \
    "13); REPLACE INTO kv VALUES(11, 'again'), (2, zeroblob(700)), (14, 14)"

/* Any other answer than 'ok' is an error of its own. */
#define VERIFY                                                                         \
    "SELECT CASE litekv_verify('kv') WHEN 'ok' THEN 1 ELSE abs(-9223372036854775807 "  \
    "- 1) END"

#define COMPACT "; SELECT litekv_compact('kv')"
#define TWO "CREATE VIRTUAL TABLE two USING litekv"
#define SHM "shm='/litekv-sweep-%d-two'"

/* A key of more bytes than fit into a struct, as a literal and as an expression. */
#define LONG_20 "aaaaaaaaaaaaaaaaaaaa"
#define LONG_KEY LONG_20 LONG_20 LONG_20 LONG_20 LONG_20

#define DATABASE SWEEP_DATABASE
#define MEMORY SWEEP_MEMORY
#define OUTSIDE (SWEEP_FILES | SWEEP_SHARED)
#define INSIDE (SWEEP_DATABASE | SWEEP_MEMORY)

const sweep_scene sweep_scenes[] = {
    /* Reading */
    {"", "SELECT * FROM kv", 0, 0},
    {"", "SELECT value FROM kv WHERE key IN ('b', 2, x'00', 7) ORDER BY key DESC", 0,
     0},
    {"SELECT 1", "SELECT * FROM kv WHERE key IN ('" LONG_KEY "', 'b', 7)", 0, DATABASE},
    {"SELECT 1", "SELECT * FROM kv WHERE key > '" LONG_KEY "'", 0, DATABASE},
    {"SELECT 1", "SELECT * FROM kv WHERE key < '" LONG_KEY "' || abs(1)", 0, DATABASE},
    {TWO "(a TEXT, b); INSERT INTO two VALUES('abc', 1), ('" LONG_KEY "', 2)",
     "SELECT b FROM two WHERE a LIKE '" LONG_KEY "%%'", 0, DATABASE},
    {"SELECT * FROM kv", "SELECT litekv_stats('kv')", 0, 0},
    {"", "INSERT INTO kv(kv) VALUES('integrity-check')", 0, 0},
    {"", VERIFY, 0, 0},
    {MAKE_RUNS, VERIFY, 0, 0},
    {MAKE_RUNS, "SELECT * FROM litekv_segments('kv')", 0, 0},
    {"WITH RECURSIVE n(i) AS (VALUES(20) UNION ALL SELECT i + 1 FROM n WHERE i < 36) "
     "INSERT INTO kv SELECT i, zeroblob(5000) FROM n",
     "SELECT count(*) FROM litekv_segments('kv')", 0, MEMORY},

    /* Writing */
    {"", "INSERT INTO kv VALUES(5, 'five')", 0, 0},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES(5, 'five')", 0, 0},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES('" LONG_KEY "', 3.5)", 0, DATABASE},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES(5, 1), ('y', zeroblob(3000)), (6, 2)",
     0, 0},
    {"SELECT * FROM kv", "UPDATE kv SET key = key || 'x'", 0, 0},
    {"SELECT * FROM kv", "DELETE FROM kv", 0, 0},
    {TWO "(a TEXT, b TEXT, c); INSERT INTO two VALUES('k', 'b', 'c')",
     "UPDATE two SET b = 2.5", 0, DATABASE},
    {"BEGIN", "INSERT INTO kv VALUES(5, 'five')", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(400))",
     "UPDATE kv SET key = 'moved' WHERE key = 5", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", /* its second half needs more memory */
     "UPDATE kv SET key = 'moved', value = zeroblob(20000) WHERE key = 5", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(400)), (6, zeroblob(1500))",
     "UPDATE kv SET key = 'moved' WHERE key = 5", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(3000)); INSERT INTO kv VALUES(6, 6)",
     "INSERT INTO kv VALUES(7, zeroblob(3000)), (8, 8), (9, zeroblob(3000))", 0, 0},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES(7, 7), (1, 1)",
     SQLITE_CONSTRAINT_PRIMARYKEY, 0},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES(7, 7), (NULL, 1)",
     SQLITE_CONSTRAINT_NOTNULL, DATABASE},

    /* Compaction and the index */
    {MAKE_RUNS, "SELECT litekv_compact('kv')", 0, 0},
    {MAKE_RUNS "; SELECT litekv_compact('kv', 1)", "SELECT litekv_compact('kv', 1)", 0,
     0},
    {MAKE_RUNS COMPACT "; DELETE FROM kv WHERE key = 2", "SELECT litekv_compact('kv')",
     0, 0},
    {"BEGIN; " MAKE_RUNS, "SELECT litekv_compact('kv')", 0, INSIDE},
    {"BEGIN; " MAKE_RUNS, "SELECT litekv_compact('kv')", SQLITE_ERROR, OUTSIDE},
    {MAKE_RUNS, "INSERT INTO kv(kv) VALUES('compact=1000')", 0, 0},
    {MAKE_RUNS, "INSERT INTO kv(kv) VALUES('auto_compact=0.3')", 0, 0},
    {MAKE_RUNS, "INSERT INTO kv(kv) VALUES('sync=normal')", 0, OUTSIDE},
    {MAKE_RUNS, "SELECT litekv_rebuild_index('kv')", 0, 0},
    {MAKE_RUNS COMPACT, "SELECT litekv_rebuild_index('kv')", 0, 0},
    {MAKE_RUNS, "SELECT litekv_export_index('kv')", 0, 0},
    {MAKE_RUNS COMPACT, "SELECT litekv_export_index('kv', 'sweep.idx', 'replace')", 0,
     0},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_export_index('kv') AS i",
     "SELECT litekv_import_index('kv', i) FROM i", 0, 0},
    {MAKE_RUNS "; SELECT litekv_export_index('kv', 'sweep.idx', 'replace')",
     "SELECT litekv_import_index('kv', 'sweep.idx')", 0, 0},

    /* Content as a whole */
    {MAKE_RUNS, "SELECT litekv_recover('kv')", 0, 0},
    {MAKE_RUNS COMPACT "; UPDATE kv_base SET block = CAST(substr(block, 1, "
                       "length(block) - 1) || x'a5' AS BLOB) WHERE id = (SELECT "
                       "max(id) FROM kv_base)",
     "SELECT litekv_recover('kv', 'apply')", 0, DATABASE},
    {"", "INSERT INTO kv(kv) VALUES('recover')", 0, DATABASE},
    {MAKE_RUNS, "SELECT litekv_serialize('kv')", 0, 0},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_serialize('kv') AS i",
     "SELECT litekv_deserialize('kv', i) FROM i", 0, 0},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_serialize('kv') AS i; BEGIN; DELETE "
               "FROM kv WHERE key = 2",
     "SELECT litekv_deserialize('kv', i) FROM i", 0, DATABASE},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_serialize('kv') AS i; BEGIN",
     "SELECT litekv_deserialize('kv', i) FROM i", 0, 0},

    /* Transactions */
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(300)); INSERT INTO kv VALUES(6, 6)",
     "COMMIT", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(9000)); DELETE FROM kv WHERE key = 2",
     "COMMIT", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(300))", "SAVEPOINT s", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, 5); SAVEPOINT s; INSERT INTO kv VALUES(6, "
     "zeroblob(9000)); SAVEPOINT t; DELETE FROM kv WHERE key = 2",
     "ROLLBACK TO s", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, 5); SAVEPOINT s; INSERT INTO kv VALUES(6, "
     "zeroblob(9000)); SAVEPOINT t; DELETE FROM kv WHERE key = 2",
     "RELEASE s", 0, 0},
    {"BEGIN; INSERT INTO kv VALUES(5, 5); DELETE FROM kv WHERE key = 2", "ROLLBACK", 0,
     0},

    /* Tables that come, go, and get another name */
    {"", TWO "(a TEXT PRIMARY KEY NOT NULL, \"b\" INT, cache=10, auto_compact='off')",
     0, DATABASE},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", TWO "(a, b)", 0, 0},
    {"BEGIN; " TWO "; INSERT INTO two VALUES(1, 1); INSERT INTO kv VALUES(5, 5)",
     "DROP TABLE two", 0, 0},
    {TWO "; BEGIN; INSERT INTO two VALUES(1, 1)", "ALTER TABLE two RENAME TO three", 0,
     0},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", TWO "(memory=on)", 0, 0},
    {TWO "(memory=on); INSERT INTO two VALUES(1, 1); BEGIN; INSERT INTO kv VALUES(5, "
         "5); INSERT INTO two VALUES(2, 2)",
     "DROP TABLE two", 0, MEMORY},
    {TWO "(memory=on); INSERT INTO two VALUES(1, 1); BEGIN; DROP TABLE two; " TWO
         "(memory=on)",
     "ROLLBACK", 0, MEMORY},
    {TWO "(memory=on); INSERT INTO two VALUES(1, 1)", "ALTER TABLE two RENAME TO three",
     0, MEMORY},
    {"", TWO "(path='two', mode=600, sync=off, mmap=off)", 0, DATABASE},
    {"", TWO "(" SHM ")", 0, DATABASE},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", TWO "(path='two', sync=off)", 0, DATABASE},
    {TWO "(path='two', sync=off); INSERT INTO two VALUES(1, 1)", "DROP TABLE two", 0,
     SWEEP_FILES},
    {TWO "(path='two', sync=off); INSERT INTO two VALUES(1, 1); BEGIN; INSERT INTO kv "
         "VALUES(5, 5)",
     "ALTER TABLE two RENAME TO three", 0, SWEEP_FILES},
    {TWO "(path='two', sync=off); INSERT INTO two VALUES(1, 1); DROP TABLE two",
     "SELECT litekv_remove('two')", 0, SWEEP_FILES},
    {TWO "(" SHM "); INSERT INTO two VALUES(1, 1); DROP TABLE two",
     "SELECT litekv_remove('shm:/litekv-sweep-%d-two')", 0, SWEEP_SHARED},

    /* What is refused, with or without a failure */
    {"", "INSERT INTO kv(kv) VALUES('what')", SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_compact('kv', -1)", SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_stats('none')", SQLITE_ERROR, DATABASE},
    {"", "SELECT * FROM litekv_segments('none')", SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_deserialize('kv', zeroblob(1000))", SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_deserialize('kv', 'text')", SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_import_index('kv', 'none')", SQLITE_CANTOPEN, DATABASE},
    {"", "SELECT litekv_export_index('kv', '.')", SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_export_index('kv', 'sweep.idx', 'what')", SQLITE_ERROR,
     DATABASE},
    {"", "SELECT litekv_recover('kv', 'what')", SQLITE_ERROR, DATABASE},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", "SELECT litekv_recover('kv')", SQLITE_ERROR,
     DATABASE},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", "SELECT litekv_export_index('kv')",
     SQLITE_ERROR, DATABASE},
    {"", "SELECT litekv_remove('none')", SQLITE_CANTOPEN, DATABASE},
    {"", "SELECT litekv_remove('shm:none')", SQLITE_ERROR, DATABASE},
    {"", TWO "(a, \"a\")", SQLITE_ERROR, DATABASE},
    {"", TWO "(a, memory=off, sync=of)", SQLITE_ERROR, DATABASE},
    {"", TWO "(a, what='it')", SQLITE_ERROR, DATABASE},
    {"", "ALTER TABLE kv RENAME TO value", SQLITE_ERROR, DATABASE},
    {TWO "(a, path='two', sync=off)",
     "CREATE VIRTUAL TABLE three USING litekv(b, path='two')", SQLITE_ERROR, DATABASE},
    {TWO "(a, path='two', sync=off); BEGIN; INSERT INTO two VALUES(1)",
     "DROP TABLE two", SQLITE_LOCKED, DATABASE},
};

const size_t sweep_scene_count = sizeof(sweep_scenes) / sizeof(sweep_scenes[0]);
